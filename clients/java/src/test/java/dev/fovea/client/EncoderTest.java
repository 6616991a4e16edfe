package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Rows, counts and the cache of a real encoder with the stand-in model. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class EncoderTest {
  private FoveaEncoder encoder;

  @BeforeEach
  void connect(House house) {
    encoder = FoveaEncoder.connect(house.encoder.address);
  }

  @AfterEach
  void close() {
    encoder.close();
  }

  /** 4 MiB of rows and more, in several chunks. */
  @Test
  void rowsAreEncodedOnceAndThenFound() {
    Stored stored = encoder.put(Image.of(Pictures.png(1300, 1000, 21)));
    Rows first = encoder.encode(stored.facts().digest());
    assertEquals(RowSource.ENCODED, first.source());
    assertEquals(first.grid().h() * first.grid().w() / 4, first.count());
    assertEquals(first.count() * first.layout().rowBytes(), first.data().remaining());
    assertTrue(first.data().remaining() > 1 << 20, "one chunk only");
    assertTrue(first.timings().tower() > 0);
    Rows second = encoder.encode(stored.facts().digest());
    assertEquals(RowSource.ROWS, second.source());
    assertEquals(first.data(), second.data());
    assertEquals(first.digest(), second.digest());
  }

  @Test
  void aPlanShrinksTheImage() {
    String digest = encoder.put(Image.of(Repository.sample("chart.png"))).facts().digest();
    Rows rows = encoder.encode(digest, OptionalInt.of(128 * 96), encoder.info().fingerprint());
    assertEquals(12, rows.count());
    assertEquals(new Grid(1, 6, 8), rows.grid());
  }

  @Test
  void rowsOfAnotherModelAreRefused() {
    String digest = encoder.put(Image.of(Repository.sample("chart.png"))).facts().digest();
    var failure =
        assertThrows(
            FoveaException.class,
            () -> encoder.encode(digest, OptionalInt.empty(), "sha256:" + "0".repeat(64)));
    assertEquals(Reason.ENCODER_MISMATCH, failure.reason());
    assertEquals(Status.Code.FAILED_PRECONDITION, failure.code());
  }

  @Test
  void sizesAreCountedAsTheGeometrySays() {
    Geometry geometry = encoder.info().geometry();
    TokenCount count = encoder.countTokens(1600, 1200);
    assertEquals(new Size(1312, 960), count.planned());
    assertEquals(1230, count.tokens());
    assertEquals(geometry.plan(1600, 1200, Geometry.DEFAULT_MAX_PIXELS).grid(), count.grid());
    assertEquals(1900, encoder.countTokens(1600, 1200, OptionalInt.of(16_777_216)).tokens());
    assertTrue(count.rowBytes() > 0);
  }

  @Test
  void whatIsDeletedIsGone() {
    Stored stored = encoder.put(Image.of(Pictures.png(200, 150, 22)));
    String digest = stored.facts().digest();
    encoder.encode(digest);
    // The rows are written beside the answer: until then asking again computes them again.
    Patience.until(
        Duration.ofSeconds(30),
        () -> "stored rows",
        () -> encoder.encode(digest).source() == RowSource.ROWS);
    CacheStats before = encoder.cacheStats();
    Deleted deleted = encoder.delete(digest);
    assertEquals(1, deleted.uploads());
    assertEquals(1, deleted.records());
    assertTrue(deleted.bytes() > 0);
    CacheStats after = encoder.cacheStats();
    assertEquals(before.records() - 1, after.records());
    assertEquals(before.uploads() - 1, after.uploads());
    var failure = assertThrows(FoveaException.class, () -> encoder.describe(digest));
    assertEquals(Reason.IMAGE_NOT_STORED, failure.reason());
    Deleted again = encoder.delete(digest);
    assertEquals(0, again.uploads() + again.records() + again.bytes());
    assertNotEquals(Erasure.UNKNOWN, again.erasure());
  }

  @Test
  void theEncoderTellsOfItself() {
    EncoderInfo info = encoder.info();
    assertEquals(ServingState.SERVING, info.state());
    assertEquals("encoder-0", info.name());
    assertEquals(25_000_000, info.limits().maxImagePixels());
    assertEquals(100, info.limits().maxJpegScans());
    assertEquals(RowDtype.BF16, info.layout().orElseThrow().dtype());
    assertFalse(info.fingerprint().isEmpty());
    assertTrue(info.load().encodes() >= 0);
  }
}
