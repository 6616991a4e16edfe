package dev.fovea.client;

import dev.fovea.decoder.v1.CountTokensRequest;
import dev.fovea.decoder.v1.DecoderServiceGrpc;
import dev.fovea.decoder.v1.DeleteImageRequest;
import dev.fovea.decoder.v1.DescribeImageRequest;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.GetServerInfoRequest;
import dev.fovea.decoder.v1.GetUsageRequest;
import dev.fovea.decoder.v1.ListAnomaliesRequest;
import dev.fovea.decoder.v1.ListUsageResponse;
import dev.fovea.decoder.v1.PurgeTenantRequest;
import dev.fovea.decoder.v1.PutImageHeader;
import dev.fovea.decoder.v1.PutImageRequest;
import dev.fovea.decoder.v1.PutImageResponse;
import dev.fovea.decoder.v1.UsageServiceGrpc;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * A client of a decoder: asks about images, stores them, counts tokens. Files are stored first and
 * then named by their id, so an image that the service holds is sent only once. It is thread-safe.
 * Interrupting a thread ends its call.
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

  /**
   * A client of the decoder at {@code host:port}, in plaintext. Several addresses are separated by
   * commas; of {@code dns:///name:port} all addresses are decoders. Requests about the same image go
   * to the same decoder while it answers, so that its cached prefix is used.
   */
  public static Fovea connect(String address) {
    return builder(address).build();
  }

  /** A client with a token, TLS or another deadline. */
  public static ClientBuilder<Fovea> builder(String address) {
    return new ClientBuilder<>(address, Fovea::new);
  }

  /** The complete answer to a question about files. */
  public Answer ask(String question, Path... files) {
    return ask(question(question, files));
  }

  /** The complete answer. */
  public Answer ask(Question question) {
    return ask(question, text -> {});
  }

  /** The complete answer. {@code onText} is called with each piece as it arrives. */
  public Answer ask(Question question, Consumer<String> onText) {
    try (AnswerStream events = stream(question)) {
      return events.collect(onText);
    }
  }

  /** The streamed answer to a question about files. */
  public AnswerStream stream(String question, Path... files) {
    return stream(question(question, files));
  }

  /**
   * The streamed answer. If the service has evicted an image since it was stored, the image is
   * uploaded once more, unless only its id is known here.
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

  /** The cost of a question, without running the language model. Files are stored. */
  public Count countTokens(Question question) {
    Draft draft = Draft.of(question);
    store(draft);
    var request = CountTokensRequest.newBuilder().setRequest(draft.request()).build();
    try {
      var method = DecoderServiceGrpc.getCountTokensMethod();
      return Convert.count(link.one(method, request, Rendezvous.keyOf(draft.request())));
    } catch (FoveaException failure) {
      throw draft.named(failure);
    }
  }

  /** Stores an image. A stored image is not sent again. */
  public Stored put(Image image) {
    return put(image, Progress.UNHEARD);
  }

  /** As {@link #put(Image)}. {@code progress} is called with the bytes sent. */
  public Stored put(Image image, Progress progress) {
    return shelf.put(image, progress);
  }

  /** The facts of a stored image. Fails with IMAGE_NOT_STORED if it is not stored. */
  public Stored describe(String digest) {
    var request = DescribeImageRequest.newBuilder().setDigest(digest).build();
    var reply = link.one(DecoderServiceGrpc.getDescribeImageMethod(), request, digest);
    return new Stored(
        Convert.facts(reply.getFacts()),
        true,
        Convert.instant(reply.getExpireTime()),
        reply.getEncoder());
  }

  /**
   * Deletes an image and the rows of its pixels, on every encoder and in the decoder's caches.
   * Succeeds even if some encoders did not confirm; repeat it until all do.
   */
  public List<EncoderDeletion> delete(String digest) {
    var request = DeleteImageRequest.newBuilder().setDigest(digest).build();
    return Convert.deletions(
        link.one(DecoderServiceGrpc.getDeleteImageMethod(), request, digest).getEncodersList());
  }

  /**
   * Deletes everything of a tenant, on every encoder and in the decoder's caches. Needs a token of
   * role operator. Otherwise like {@link #delete}.
   */
  public List<EncoderDeletion> purgeTenant(String tenant) {
    var request = PurgeTenantRequest.newBuilder().setTenant(tenant).build();
    return Convert.deletions(
        link.one(DecoderServiceGrpc.getPurgeTenantMethod(), request).getEncodersList());
  }

  /** Model, state, limits, load, features and encoders. */
  public DecoderInfo info() {
    var request = GetServerInfoRequest.getDefaultInstance();
    return Convert.info(link.one(DecoderServiceGrpc.getGetServerInfoMethod(), request));
  }

  /** The sums of the ledger, in the order of their keys. Null sums up by nothing: a single sum. */
  public List<UsageSummary> summarizeUsage(UsageDimension by, UsageFilter filter) {
    var request = ConvertUsage.summarize(by, filter);
    var reply = link.one(UsageServiceGrpc.getSummarizeUsageMethod(), request);
    return reply.getSummariesList().stream().map(ConvertUsage::summary).toList();
  }

  /** The records of the ledger, newest first. Pages are fetched as the stream needs them. */
  public Stream<UsageRecord> listUsage(UsageFilter filter) {
    return Stream.iterate(
            usagePage(filter, ""), Objects::nonNull, page -> usagePageAfter(page, filter))
        .flatMap(page -> page.getRecordsList().stream())
        .map(ConvertUsage::record);
  }

  /** The records of a request id, newest first, also of requests that were cancelled or failed. */
  public List<UsageRecord> getUsage(String requestId) {
    var request = GetUsageRequest.newBuilder().setRequestId(requestId).build();
    var reply = link.one(UsageServiceGrpc.getGetUsageMethod(), request);
    return reply.getRecordsList().stream().map(ConvertUsage::record).toList();
  }

  /** Changes in the use of the caller's tenant, or of all tenants for operators, newest first. */
  public List<Anomaly> listAnomalies() {
    return listAnomalies("");
  }

  /** Changes in the use of a tenant since the decoder's start, newest first. */
  public List<Anomaly> listAnomalies(String tenant) {
    var request = ListAnomaliesRequest.newBuilder().setTenant(tenant).build();
    var reply = link.one(UsageServiceGrpc.getListAnomaliesMethod(), request);
    return reply.getAnomaliesList().stream().map(ConvertUsage::anomaly).toList();
  }

  /** Ends all calls and closes the connection. */
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

  private ListUsageResponse usagePage(UsageFilter filter, String page) {
    return link.one(UsageServiceGrpc.getListUsageMethod(), ConvertUsage.list(filter, page));
  }

  /** Null after the last page. */
  private ListUsageResponse usagePageAfter(ListUsageResponse page, UsageFilter filter) {
    String next = page.getNextPageToken();
    return next.isEmpty() ? null : usagePage(filter, next);
  }

  private AnswerStream generate(GenerateRequest request, Question question) {
    Call<GenerateRequest, GenerateResponse> call =
        link.open(
            DecoderServiceGrpc.getGenerateMethod(),
            Rendezvous.keyOf(request),
            question.timeout().orElse(link.timeout()));
    call.ask(request);
    return new AnswerStream(call);
  }
}
