package dev.fovea.client;

import dev.fovea.encoder.v1.CountTokensRequest;
import dev.fovea.encoder.v1.DeleteImageRequest;
import dev.fovea.encoder.v1.DescribeImageRequest;
import dev.fovea.encoder.v1.EncodeRequest;
import dev.fovea.encoder.v1.EncodeResponse;
import dev.fovea.encoder.v1.EncoderServiceGrpc;
import dev.fovea.encoder.v1.GetCacheStatsRequest;
import dev.fovea.encoder.v1.GetServerInfoRequest;
import dev.fovea.encoder.v1.PlaceRowsRequest;
import dev.fovea.encoder.v1.PutImageHeader;
import dev.fovea.encoder.v1.PutImageRequest;
import dev.fovea.encoder.v1.PutImageResponse;
import java.util.OptionalInt;

/**
 * A client of one encoder: what it holds, what an image costs, and its rows, checked. Asking
 * questions needs only {@link Fovea}; this one is for those who look after the cache, or who feed
 * rows to an engine of their own. One object serves many threads.
 */
public final class FoveaEncoder implements AutoCloseable {
  private final Link link;
  private final Shelf<PutImageRequest, PutImageResponse> shelf;

  FoveaEncoder(Link link) {
    this.link = link;
    shelf =
        new Shelf<>(
            link,
            EncoderServiceGrpc.getPutImageMethod(),
            FoveaEncoder::header,
            piece -> PutImageRequest.newBuilder().setData(piece).build(),
            FoveaEncoder::stored,
            this::describe);
  }

  /** A client of the encoder at {@code host:port}, in plaintext. */
  public static FoveaEncoder connect(String address) {
    return builder(address).build();
  }

  /** A client with a token, TLS or another deadline. */
  public static ClientBuilder<FoveaEncoder> builder(String address) {
    return new ClientBuilder<>(address, FoveaEncoder::new);
  }

  /** Stores an image here. Who asks through a decoder stores there: it knows the owner. */
  public Stored put(Image image) {
    return put(image, Progress.UNHEARD);
  }

  /** As {@link #put(Image)}; {@code progress} hears the bytes that are sent. */
  public Stored put(Image image, Progress progress) {
    return shelf.put(image, progress);
  }

  /** What is known of a stored image; IMAGE_NOT_STORED where it is not, or no longer, here. */
  public Stored describe(String digest) {
    var request = DescribeImageRequest.newBuilder().setDigest(digest).build();
    var reply = link.one(EncoderServiceGrpc.getDescribeImageMethod(), request);
    return new Stored(
        Convert.facts(reply.getFacts()), true, Convert.instant(reply.getExpireTime()), "");
  }

  /** What an image of this size costs at the server's default; no image is needed. */
  public TokenCount countTokens(int width, int height) {
    return countTokens(width, height, OptionalInt.empty());
  }

  /** What an image of this size costs, shrunk to at most so many pixels. */
  public TokenCount countTokens(int width, int height, OptionalInt maxPixels) {
    var request = CountTokensRequest.newBuilder().setWidth(width).setHeight(height);
    maxPixels.ifPresent(request::setMaxPixels);
    var reply = link.one(EncoderServiceGrpc.getCountTokensMethod(), request.build());
    return Convert.tokenCount(reply.getCount());
  }

  /** The rows of a stored image at the server's default size, whole and checked. */
  public Rows encode(String digest) {
    return encode(digest, OptionalInt.empty(), "");
  }

  /**
   * The rows of a stored image, shrunk to at most so many pixels, whole and checked: order, count,
   * length, XXH3 and digest. {@code fingerprint} refuses an encoder of another model; empty takes
   * any. ROWS_MISMATCH for rows that are not what was announced.
   */
  public Rows encode(String digest, OptionalInt maxPixels, String fingerprint) {
    RowPlan plan = RowPlan.DEFAULT;
    return encode(
        digest, maxPixels.isPresent() ? plan.withMaxPixels(maxPixels.getAsInt()) : plan, fingerprint);
  }

  /** As {@link #encode(String, OptionalInt, String)}, for the rows that a plan sends. */
  public Rows encode(String digest, RowPlan plan, String fingerprint) {
    var request = Convert.encodeRequest(digest, plan, fingerprint);
    RowAssembly assembly = new RowAssembly();
    try (Call<EncodeRequest, EncodeResponse> call =
        link.open(EncoderServiceGrpc.getEncodeMethod())) {
      call.ask(request);
      for (EncodeResponse message; (message = call.next()) != null; ) {
        assembly.take(message);
      }
    }
    return assembly.rows();
  }

  /** Which rows of a stored image a plan sends; runs the vision tower where that is needed. */
  public Placed placeRows(String digest, RowPlan plan) {
    return placed(PlaceRowsRequest.newBuilder(), digest, plan);
  }

  /** As {@link #placeRows}, with the order of the rows where the plan chooses among them. */
  public Placed placeRowsInOrder(String digest, RowPlan plan) {
    return placed(PlaceRowsRequest.newBuilder().setOrder(true), digest, plan);
  }

  /** As {@link #placeRows}, as far as can be said without running the vision tower. */
  public Placed placeStoredRows(String digest, RowPlan plan) {
    return placed(PlaceRowsRequest.newBuilder().setStoredOnly(true), digest, plan);
  }

  private Placed placed(PlaceRowsRequest.Builder request, String digest, RowPlan plan) {
    request.setEncode(Convert.encodeRequest(digest, plan, ""));
    return Convert.placed(link.one(EncoderServiceGrpc.getPlaceRowsMethod(), request.build()));
  }

  /** Removes an image and the rows of its pixels. What is not there is removed with zeros. */
  public Deleted delete(String digest) {
    var request = DeleteImageRequest.newBuilder().setDigest(digest).build();
    var reply = link.one(EncoderServiceGrpc.getDeleteImageMethod(), request);
    return new Deleted(
        Integer.toUnsignedLong(reply.getUploads()),
        Integer.toUnsignedLong(reply.getRecords()),
        reply.getBytes());
  }

  /** What the store holds and how often it was hit. */
  public CacheStats cacheStats() {
    var request = GetCacheStatsRequest.getDefaultInstance();
    return Convert.stats(link.one(EncoderServiceGrpc.getGetCacheStatsMethod(), request));
  }

  /** Model, state, limits, load and features. */
  public EncoderInfo info() {
    var request = GetServerInfoRequest.getDefaultInstance();
    return Convert.info(link.one(EncoderServiceGrpc.getGetServerInfoMethod(), request));
  }

  /** Ends all calls and the connection. */
  @Override
  public void close() {
    link.close();
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
        "");
  }
}
