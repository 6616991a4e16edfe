package dev.fovea.client;

import dev.fovea.decoder.v1.CountTokensRequest;
import dev.fovea.decoder.v1.DecoderServiceGrpc;
import dev.fovea.decoder.v1.DescribeImageRequest;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.GetServerInfoRequest;
import dev.fovea.decoder.v1.PutImageHeader;
import dev.fovea.decoder.v1.PutImageRequest;
import dev.fovea.decoder.v1.PutImageResponse;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * A client of one decoder, the front door: ask about images, store them, count, look. Files are
 * stored first and then named by their id, so an image that the service knows travels only once. One
 * object serves many threads; a thread that is interrupted leaves its call.
 */
public final class Fovea implements AutoCloseable {
  private final Link link;
  private final Shelf<PutImageRequest, PutImageResponse> shelf;

  Fovea(Link link) {
    this.link = link;
    shelf =
        new Shelf<>(
            link,
            DecoderServiceGrpc.getPutImageMethod(),
            Fovea::header,
            piece -> PutImageRequest.newBuilder().setData(piece).build(),
            Fovea::stored,
            this::describe);
  }

  /** A client of the decoder at {@code host:port}, in plaintext. */
  public static Fovea connect(String address) {
    return builder(address).build();
  }

  /** A client with a token, TLS or another deadline. */
  public static ClientBuilder<Fovea> builder(String address) {
    return new ClientBuilder<>(address, Fovea::new);
  }

  /** The whole answer to a question about files. */
  public Answer ask(String question, Path... files) {
    return ask(question(question, files));
  }

  /** The whole answer. */
  public Answer ask(Question question) {
    return ask(question, text -> {});
  }

  /** The whole answer; {@code onText} hears each piece as it comes. */
  public Answer ask(Question question, Consumer<String> onText) {
    try (AnswerStream events = stream(question)) {
      return events.collect(onText);
    }
  }

  /** The answer to a question about files, as it comes. */
  public AnswerStream stream(String question, Path... files) {
    return stream(question(question, files));
  }

  /**
   * The answer as it comes. An image that the service has let go since it was stored is uploaded
   * once more, unless only its id is known here.
   */
  public AnswerStream stream(Question question) {
    Draft draft = Draft.of(question);
    store(draft);
    try {
      return generate(draft.request(), question);
    } catch (FoveaException failure) {
      if (failure.reason() != Reason.IMAGE_NOT_STORED || draft.uploads().isEmpty()) {
        throw draft.named(failure);
      }
      store(draft);
      return generate(draft.request(), question);
    }
  }

  /** What a question would cost; runs no model. Files are stored on the way. */
  public Count countTokens(Question question) {
    Draft draft = Draft.of(question);
    store(draft);
    var request = CountTokensRequest.newBuilder().setRequest(draft.request()).build();
    try {
      return Convert.count(link.one(DecoderServiceGrpc.getCountTokensMethod(), request));
    } catch (FoveaException failure) {
      throw draft.named(failure);
    }
  }

  /** Stores an image; one that is held already is not sent again. */
  public Stored put(Image image) {
    return put(image, Progress.UNHEARD);
  }

  /** As {@link #put(Image)}; {@code progress} hears the bytes that are sent. */
  public Stored put(Image image, Progress progress) {
    return shelf.put(image, progress);
  }

  /** What is known of a stored image; IMAGE_NOT_STORED where it is not, or no longer, there. */
  public Stored describe(String digest) {
    var request = DescribeImageRequest.newBuilder().setDigest(digest).build();
    var reply = link.one(DecoderServiceGrpc.getDescribeImageMethod(), request);
    return new Stored(
        Convert.facts(reply.getFacts()),
        true,
        Convert.instant(reply.getExpireTime()),
        reply.getEncoder());
  }

  /** Model, state, limits, load, features and encoders. */
  public DecoderInfo info() {
    var request = GetServerInfoRequest.getDefaultInstance();
    return Convert.info(link.one(DecoderServiceGrpc.getGetServerInfoMethod(), request));
  }

  /** Ends all calls and the connection. */
  @Override
  public void close() {
    link.close();
  }

  private static Question question(String question, Path... files) {
    return Question.of(question, Arrays.stream(files).map(Image::of).toArray(Image[]::new));
  }

  private static PutImageRequest header(Upload upload) {
    var header =
        PutImageHeader.newBuilder()
            .setDigest(upload.digest())
            .setByteSize(upload.announcedSize());
    return PutImageRequest.newBuilder().setHeader(header).build();
  }

  private static Stored stored(PutImageResponse reply) {
    return new Stored(
        Convert.facts(reply.getFacts()),
        reply.getAlreadyStored(),
        Convert.instant(reply.getExpireTime()),
        reply.getEncoder());
  }

  private void store(Draft draft) {
    draft.uploads().forEach(upload -> shelf.put(upload, Progress.UNHEARD));
  }

  private AnswerStream generate(GenerateRequest request, Question question) {
    Call<GenerateRequest, GenerateResponse> call =
        link.open(
            DecoderServiceGrpc.getGenerateMethod(), question.timeout().orElse(link.timeout()));
    call.ask(request);
    return new AnswerStream(call);
  }
}
