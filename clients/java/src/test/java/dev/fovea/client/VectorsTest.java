package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.InvalidProtocolBufferException;
import dev.fovea.client.FoveaException.Violation;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.encoder.v1.EncodeResponse;
import dev.fovea.vision.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

/** What all clients agree on: {@code tests/vectors}. */
class VectorsTest {
  private static JsonObject vectors(String name) {
    return Repository.json("tests/vectors/" + name + ".json").getAsJsonObject();
  }

  private static Stream<JsonObject> each(JsonElement array) {
    return StreamSupport.stream(array.getAsJsonArray().spliterator(), false)
        .map(JsonElement::getAsJsonObject);
  }

  private static byte[] bytes(JsonElement base64) {
    return Base64.getDecoder().decode(base64.getAsString());
  }

  @Test
  void ids() {
    List<JsonObject> ids = each(vectors("ids").get("ids")).toList();
    assertTrue(ids.size() > 3);
    for (JsonObject vector : ids) {
      byte[] data = bytes(vector.get("bytes"));
      Upload upload = Upload.of(data);
      assertEquals(vector.get("id").getAsString(), upload.digest());
      assertEquals(data.length, upload.size());
    }
  }

  @Test
  void decoders() throws InvalidProtocolBufferException {
    JsonObject vectors = vectors("decoders");
    List<JsonObject> orders = each(vectors.get("orders")).toList();
    List<JsonObject> choices = each(vectors.get("choices")).toList();
    List<JsonObject> requests = each(vectors.get("requests")).toList();
    assertTrue(Stream.of(orders, choices, requests).noneMatch(List::isEmpty));
    for (JsonObject vector : orders) {
      String key = vector.get("key").getAsString();
      List<String> ranked = Rendezvous.ranked(key, strings(vector.get("addresses")));
      assertEquals(strings(vector.get("ranked")), ranked, vector::toString);
    }
    for (JsonObject vector : choices) {
      Map<String, Integer> calls =
          vector.getAsJsonObject("calls").entrySet().stream()
              .collect(Collectors.toMap(Map.Entry::getKey, entry -> entry.getValue().getAsInt()));
      String chosen = Rendezvous.boundedOwner(vector.get("key").getAsString(), calls);
      assertEquals(vector.get("chosen").getAsString(), chosen, vector::toString);
    }
    for (JsonObject vector : requests) {
      GenerateRequest request = GenerateRequest.parseFrom(bytes(vector.get("request")));
      assertEquals(vector.get("key").getAsString(), Rendezvous.keyOf(request), vector::toString);
    }
  }

  private static List<String> strings(JsonElement array) {
    return StreamSupport.stream(array.getAsJsonArray().spliterator(), false)
        .map(JsonElement::getAsString)
        .toList();
  }

  @Test
  void plansOfAllSizes() {
    JsonObject vectors = vectors("geometry");
    JsonObject constants = vectors.getAsJsonObject("geometry");
    Geometry geometry =
        new Geometry(constants.get("min_pixels").getAsInt(), constants.get("max_pixels").getAsInt());
    assertEquals(Geometry.STANDARD, geometry);
    assertEquals(Geometry.DEFAULT_MAX_PIXELS, constants.get("default_max_pixels").getAsInt());
    List<JsonObject> cases = each(vectors.get("cases")).toList();
    assertEquals(600, cases.size());
    for (JsonObject vector : cases) {
      assertEquals(expected(vector), plan(geometry, vector), vector::toString);
    }
  }

  private static Geometry.Plan plan(Geometry geometry, JsonObject vector) {
    int width = vector.get("width").getAsInt();
    int height = vector.get("height").getAsInt();
    JsonElement most = vector.get("max_pixels");
    return most.isJsonNull()
        ? geometry.plan(width, height)
        : geometry.plan(width, height, most.getAsInt());
  }

  private static Geometry.Plan expected(JsonObject vector) {
    JsonArray planned = vector.getAsJsonArray("planned");
    JsonArray grid = vector.getAsJsonArray("grid_thw");
    return new Geometry.Plan(
        new Size(planned.get(0).getAsInt(), planned.get(1).getAsInt()),
        new Grid(grid.get(0).getAsInt(), grid.get(1).getAsInt(), grid.get(2).getAsInt()),
        vector.get("patches").getAsInt(),
        vector.get("tokens").getAsInt());
  }

  @Test
  void boundsOfSidesAndOfTokens() {
    List<JsonObject> cases = each(vectors("geometry").get("bounded")).toList();
    assertEquals(60, cases.size());
    for (JsonObject vector : cases) {
      int width = vector.get("width").getAsInt();
      int height = vector.get("height").getAsInt();
      JsonElement most = vector.get("max_pixels");
      int limit =
          Geometry.STANDARD.limit(
              width,
              height,
              most.isJsonNull() ? Integer.MAX_VALUE : most.getAsInt(),
              vector.get("max_short_side").getAsInt(),
              vector.get("max_long_side").getAsInt());
      assertEquals(vector.get("limit").getAsInt(), limit, vector::toString);
      JsonElement fitting = vector.get("largest_fitting");
      assertEquals(
          fitting.isJsonNull() ? OptionalInt.empty() : OptionalInt.of(fitting.getAsInt()),
          Geometry.STANDARD.largestFitting(width, height, vector.get("tokens").getAsInt()),
          vector::toString);
    }
    int huge = Integer.MAX_VALUE;
    assertEquals(16_777_216, Geometry.STANDARD.limit(huge, huge, huge, huge - 1, 0));
  }

  @Test
  void sizesThatNoImageMayHave() {
    List<JsonObject> refused = each(vectors("geometry").get("refused")).toList();
    assertEquals(4, refused.size());
    for (JsonObject vector : refused) {
      var failure =
          assertThrows(
              FoveaException.class,
              () ->
                  Geometry.STANDARD.plan(
                      vector.get("width").getAsInt(), vector.get("height").getAsInt()));
      assertEquals(vector.get("reason").getAsString(), failure.reasonName());
    }
  }

  private static Rows assembled(JsonElement stream) throws InvalidProtocolBufferException {
    RowAssembly assembly = new RowAssembly();
    for (JsonElement message : stream.getAsJsonArray()) {
      assembly.take(EncodeResponse.parseFrom(bytes(message)));
    }
    return assembly.rows();
  }

  @Test
  void rowsOfAGoodStream() throws InvalidProtocolBufferException {
    JsonObject vector = vectors("rows");
    Rows rows = assembled(vector.get("stream"));
    assertEquals(ByteBuffer.wrap(bytes(vector.get("data"))), rows.data());
    assertEquals(vector.get("rows").getAsInt(), rows.count());
    assertEquals(
        new RowLayout(vector.get("width").getAsInt(), vector.get("levels").getAsInt(), RowDtype.BF16),
        rows.layout());
    assertEquals(vector.get("row_bytes").getAsInt(), rows.layout().rowBytes());
    assertEquals(vector.get("rows_digest").getAsString(), rows.digest());
    assertEquals(new Grid(1, 10, 16), rows.grid());
    assertEquals(RowSource.ROWS, rows.source());
    assertEquals("vector", rows.encoder());
  }

  @Test
  void rowsWithTheirPlaces() throws InvalidProtocolBufferException {
    JsonObject vector = vectors("rows");
    JsonObject kept = vector.getAsJsonObject("kept");
    Rows rows = assembled(kept.get("stream"));
    List<Integer> places =
        StreamSupport.stream(kept.getAsJsonArray("places").spliterator(), false)
            .map(JsonElement::getAsInt)
            .toList();
    assertEquals(places, rows.kept());
    assertEquals(ByteBuffer.wrap(bytes(vector.get("data"))), rows.data());
    assertEquals(List.of(), assembled(vector.get("stream")).kept());
  }

  @Test
  void rowsOfEveryDtypeAreAsLongAsTheContractSays() {
    Map<RowDtype, Integer> bytes =
        Map.of(
            RowDtype.BF16, 1024,
            RowDtype.FP16, 1024,
            RowDtype.FP32, 2048,
            RowDtype.FP8, 528,
            RowDtype.INT8, 544);
    bytes.forEach((dtype, row) -> assertEquals(row, new RowLayout(128, 3, dtype).rowBytes()));
  }

  @Test
  void streamsOfRowsThatAreRefused() {
    List<JsonObject> refused = each(vectors("rows").get("refused")).toList();
    assertTrue(refused.size() > 5);
    for (JsonObject vector : refused) {
      String why = vector.get("why").getAsString();
      var failure =
          assertThrows(FoveaException.class, () -> assembled(vector.get("stream")), why);
      assertEquals(Reason.ROWS_MISMATCH, failure.reason(), why);
      assertEquals(Status.Code.DATA_LOSS, failure.code(), why);
    }
  }

  @Test
  void everyError() {
    List<JsonObject> errors = each(vectors("errors").get("errors")).toList();
    for (JsonObject vector : errors) {
      String reason = vector.get("reason").getAsString();
      FoveaException failure = failure(vector);
      assertEquals(reason, failure.reasonName());
      assertEquals(reason, failure.reason().name());
      assertEquals(vector.get("code").getAsString(), failure.code().name(), reason);
      assertEquals(vector.get("message").getAsString(), failure.getMessage(), reason);
      assertEquals(metadata(vector), failure.metadata(), reason);
      assertEquals(violations(vector), failure.violations(), reason);
      assertEquals(retryAfter(vector), failure.retryAfter(), reason);
      assertEquals(vector.get("request_id").getAsString(), failure.requestId(), reason);
    }
    var seen = errors.stream().map(v -> v.get("reason").getAsString()).collect(Collectors.toSet());
    assertEquals(
        Stream.of(Reason.values()).map(Reason::name).collect(Collectors.toSet()), seen);
  }

  /** As it comes from a call: the code and text of the status, the details in the trailers. */
  private static FoveaException failure(JsonObject vector) {
    Metadata trailers = new Metadata();
    trailers.put(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
        bytes(vector.get("status")));
    Status status =
        Status.fromCode(Status.Code.valueOf(vector.get("code").getAsString()))
            .withDescription(vector.get("message").getAsString());
    return Failure.of(status, trailers, "somewhere:1");
  }

  private static Map<String, String> metadata(JsonObject vector) {
    return vector.getAsJsonObject("metadata").entrySet().stream()
        .collect(Collectors.toMap(Map.Entry::getKey, entry -> entry.getValue().getAsString()));
  }

  private static List<Violation> violations(JsonObject vector) {
    return each(vector.get("violations"))
        .map(v -> new Violation(v.get("field").getAsString(), v.get("description").getAsString()))
        .toList();
  }

  private static Optional<Duration> retryAfter(JsonObject vector) {
    JsonElement ms = vector.get("retry_after_ms");
    return ms.isJsonNull()
        ? Optional.empty()
        : Optional.of(Duration.ofNanos(Math.round(ms.getAsDouble() * 1e6)));
  }

  @Test
  void theReasonsAreThoseOfTheContract() {
    var contract =
        Stream.of(ErrorReason.values())
            .filter(r -> r != ErrorReason.UNRECOGNIZED && r.getNumber() != 0)
            .map(r -> r.name().replaceFirst("ERROR_REASON_", ""))
            .collect(Collectors.toSet());
    assertEquals(
        contract, Stream.of(Reason.values()).map(Reason::name).collect(Collectors.toSet()));
  }

  @Test
  void statusesWithoutDetails() {
    Map<Status.Code, Reason> plain =
        Map.of(
            Status.Code.UNAVAILABLE, Reason.UNAVAILABLE,
            Status.Code.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED,
            Status.Code.CANCELLED, Reason.ABORTED,
            Status.Code.RESOURCE_EXHAUSTED, Reason.MESSAGE_TOO_LARGE,
            Status.Code.UNIMPLEMENTED, Reason.NOT_SERVED);
    for (Status.Code code : Status.Code.values()) {
      Status status = Status.fromCode(code).withDescription("said so");
      FoveaException failure = Failure.of(status, new Metadata(), "somewhere:1");
      assertEquals(plain.getOrDefault(code, Reason.UNKNOWN), failure.reason());
      assertEquals(code, failure.code());
      assertNotEquals(null, failure.getMessage());
    }
  }

  @Test
  void aLaterReasonKeepsItsName() {
    var info =
        com.google.rpc.ErrorInfo.newBuilder().setReason("MOON_TOO_FAR").setDomain("fovea.dev");
    var status =
        com.google.rpc.Status.newBuilder()
            .addDetails(com.google.protobuf.Any.pack(info.build()))
            .build();
    Metadata trailers = new Metadata();
    trailers.put(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
        status.toByteArray());
    FoveaException failure = Failure.of(Status.NOT_FOUND, trailers, "somewhere:1");
    assertEquals(Reason.UNKNOWN, failure.reason());
    assertEquals("MOON_TOO_FAR", failure.reasonName());
  }
}
