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
 * A client of an encoder: its store, the cost of images, and verified rows. Use {@link Fovea} to
 * ask questions. Use this class to manage the store or to feed rows to your own engine. It is
 * thread-safe.
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

  /**
   * Stores an image on this encoder. For questions, store it through the decoder, which knows the
   * owner.
   */
  public Stored put(Image image) {
    return put(image, Progress.UNHEARD);
  }

  /** As {@link #put(Image)}. {@code progress} is called with the bytes sent. */
  public Stored put(Image image, Progress progress) {
    return shelf.put(image, progress);
  }

  /** The facts of a stored image. Fails with IMAGE_NOT_STORED if it is not stored here. */
  public Stored describe(String digest) {
    var request = DescribeImageRequest.newBuilder().setDigest(digest).build();
    var reply = link.one(EncoderServiceGrpc.getDescribeImageMethod(), request, digest);
    return new Stored(
        Convert.facts(reply.getFacts()), true, Convert.instant(reply.getExpireTime()), "");
  }

  /** The cost of an image of this size at the server's default, without the image. */
  public TokenCount countTokens(int width, int height) {
    return countTokens(width, height, OptionalInt.empty());
  }

  /** The cost of an image of this size, resized to at most this many pixels. */
  public TokenCount countTokens(int width, int height, OptionalInt maxPixels) {
    var request = CountTokensRequest.newBuilder().setWidth(width).setHeight(height);
    maxPixels.ifPresent(request::setMaxPixels);
    var reply = link.one(EncoderServiceGrpc.getCountTokensMethod(), request.build());
    return Convert.tokenCount(reply.getCount());
  }

  /** The rows of a stored image at the server's default size, complete and verified. */
  public Rows encode(String digest) {
    return encode(digest, OptionalInt.empty(), "");
  }

  /**
   * The rows of a stored image, resized to at most this many pixels, complete and verified: order,
   * count, length, XXH3 and digest. An encoder with another {@code fingerprint} is refused; empty
   * accepts any. Fails with ROWS_MISMATCH if the rows differ from their header.
   */
  public Rows encode(String digest, OptionalInt maxPixels, String fingerprint) {
    RowPlan plan = RowPlan.DEFAULT;
    return encode(
        digest, maxPixels.isPresent() ? plan.withMaxPixels(maxPixels.getAsInt()) : plan, fingerprint);
  }

  /** As {@link #encode(String, OptionalInt, String)}, for the rows that a plan selects. */
  public Rows encode(String digest, RowPlan plan, String fingerprint) {
    var request = Convert.encodeRequest(digest, plan, fingerprint);
    RowAssembly assembly = new RowAssembly();
    try (Call<EncodeRequest, EncodeResponse> call =
        link.open(EncoderServiceGrpc.getEncodeMethod(), digest)) {
      call.ask(request);
      for (EncodeResponse message; (message = call.next()) != null; ) {
        assembly.take(message);
      }
    }
    return assembly.rows();
  }

  /** The indices of the rows that a plan selects. Runs the vision tower if necessary. */
  public Placed placeRows(String digest, RowPlan plan) {
    return placed(PlaceRowsRequest.newBuilder(), digest, plan);
  }

  /** As {@link #placeRows}, with the ranking of the rows if the plan selects rows. */
  public Placed placeRowsInOrder(String digest, RowPlan plan) {
    return placed(PlaceRowsRequest.newBuilder().setOrder(true), digest, plan);
  }

  /** As {@link #placeRows}, without running the vision tower. */
  public Placed placeStoredRows(String digest, RowPlan plan) {
    return placed(PlaceRowsRequest.newBuilder().setStoredOnly(true), digest, plan);
  }

  private Placed placed(PlaceRowsRequest.Builder request, String digest, RowPlan plan) {
    request.setEncode(Convert.encodeRequest(digest, plan, ""));
    var method = EncoderServiceGrpc.getPlaceRowsMethod();
    return Convert.placed(link.one(method, request.build(), digest));
  }

  /**
   * Deletes an image and the rows of its pixels. Deleting an image that is not stored succeeds with
   * zeros.
   */
  public Deleted delete(String digest) {
    var request = DeleteImageRequest.newBuilder().setDigest(digest).build();
    var reply = link.one(EncoderServiceGrpc.getDeleteImageMethod(), request, digest);
    return new Deleted(
        Integer.toUnsignedLong(reply.getUploads()),
        Integer.toUnsignedLong(reply.getRecords()),
        reply.getBytes(),
        Convert.erasure(reply.getErasure()));
  }

  /** The contents of the store and its hit counts. */
  public CacheStats cacheStats() {
    var request = GetCacheStatsRequest.getDefaultInstance();
    return Convert.stats(link.one(EncoderServiceGrpc.getGetCacheStatsMethod(), request));
  }

  /** Model, state, limits, load and features. */
  public EncoderInfo info() {
    var request = GetServerInfoRequest.getDefaultInstance();
    return Convert.info(link.one(EncoderServiceGrpc.getGetServerInfoMethod(), request));
  }

  /** Ends all calls and closes the connection. */
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
