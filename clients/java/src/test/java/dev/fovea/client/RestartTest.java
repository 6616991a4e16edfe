package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Services that go and come back between the calls of one client. */
@Timeout(600)
@ExtendWith(House.Shared.class)
class RestartTest {
  private static final Path CHART = Repository.sample("chart.png");
  private static final String TALLEST = "Which bar is the tallest?";

  @Test
  void theSameClientGoesOnAfterTheDecoderHasBeenAway(House house) {
    try (Fovea fovea = Fovea.connect(house.decoder.address)) {
      assertEquals("yellow", fovea.ask(TALLEST, CHART).text());
      house.decoder.stop();
      try {
        var failure = assertThrows(FoveaException.class, () -> fovea.ask(TALLEST, CHART));
        assertEquals(Reason.UNAVAILABLE, failure.reason());
      } finally {
        house.decoder.start().untilServing();
      }
      assertEquals("yellow", fovea.ask(TALLEST, CHART).text());
    }
  }

  @Test
  void theEncodersCacheOutlivesItsRestart(House house) {
    try (Fovea fovea = Fovea.connect(house.decoder.address);
        FoveaEncoder encoder = FoveaEncoder.connect(house.encoder.address)) {
      fovea.ask(TALLEST, CHART);
      encoder.info();
      house.encoder.stop();
      try {
        var failure = assertThrows(FoveaException.class, () -> fovea.ask(TALLEST, CHART));
        assertEquals(Reason.ENCODER_UNAVAILABLE, failure.reason());
        assertTrue(failure.retryAfter().isPresent());
      } finally {
        house.encoder.start().untilServing();
      }
      assertEquals(0, encoder.info().load().encodes());
      Answer answer = again(fovea);
      assertEquals("yellow", answer.text());
      assertEquals(RowSource.ROWS, answer.receipt().images().get(0).source());
      assertEquals(0, answer.receipt().totals().encodes());
      assertEquals(0, encoder.info().load().encodes());
    }
  }

  /** As a caller does who honours what the server says: the decoder may not have seen it yet. */
  private static Answer again(Fovea fovea) {
    for (int tries = 0; tries < 20; tries++) {
      try {
        return fovea.ask(TALLEST, CHART);
      } catch (FoveaException failure) {
        assertEquals(Reason.ENCODER_UNAVAILABLE, failure.reason());
        Patience.sleep(failure.retryAfter().orElse(Duration.ofSeconds(1)).toMillis());
      }
    }
    throw new AssertionError("the encoder did not come back for the decoder");
  }
}
