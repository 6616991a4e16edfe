package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Callers that leave, are late or are slow, on the real decoder with a model of long answers. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class LeavingTest {
  private static final Question LONG =
      Question.of(House.LONG_WINDED).withSampling(Sampling.DEFAULT.withMaxNewTokens(400));

  private Fovea fovea;

  @BeforeEach
  void connect(House house) {
    fovea = Fovea.connect(house.narrow().address);
    untilFree();
  }

  @AfterEach
  void close() {
    fovea.close();
  }

  private void untilFree() {
    Patience.until(
        Duration.ofSeconds(60), () -> "free again: " + fovea.info().load(), () -> isFree(fovea));
  }

  static boolean isFree(Fovea fovea) {
    DecoderInfo.Load load = fovea.info().load();
    return load.running() == 0 && load.waiting() == 0 && load.kvBlocksUsed() == 0;
  }

  /** Reads up to the first text: the answer is being made. */
  private AnswerStream speaking() {
    AnswerStream events = fovea.stream(LONG);
    while (!(events.next() instanceof Event.Text)) {}
    return events;
  }

  @Test
  void whoLeavesGivesTheSlotBack() {
    try (AnswerStream events = speaking()) {
      DecoderInfo.Load busy = fovea.info().load();
      assertTrue(events.hasNext());
      assertEquals(1, busy.running(), "the answer was too short to be left");
      assertTrue(busy.kvBlocksUsed() > 0);
    }
    untilFree();
    Sampling one = Sampling.DEFAULT.withMaxNewTokens(1);
    assertEquals(
        1, fovea.ask(Question.of("?").withSampling(one)).receipt().totals().outputTokens());
  }

  @Test
  void anInterruptedThreadGivesTheSlotBack() throws InterruptedException {
    CountDownLatch speaks = new CountDownLatch(1);
    AtomicReference<FoveaException> failure = new AtomicReference<>();
    Thread caller =
        new Thread(
            () -> {
              try {
                fovea.ask(LONG, text -> speaks.countDown());
              } catch (FoveaException left) {
                failure.set(left);
              }
            });
    caller.start();
    speaks.await();
    caller.interrupt();
    caller.join();
    assertEquals(Reason.ABORTED, failure.get().reason());
    untilFree();
  }

  @Test
  void aDeadlineGivesTheSlotBack() {
    Question hasty = LONG.withTimeout(Duration.ofMillis(150));
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(hasty));
    assertEquals(Reason.DEADLINE_EXCEEDED, failure.reason());
    untilFree();
  }

  @Test
  void aSlowReaderGetsTheWholeAnswer() {
    Answer whole = fovea.ask(LONG);
    assertTrue(whole.receipt().totals().outputTokens() > 100);
    StringBuilder text = new StringBuilder();
    int tokens = 0;
    try (AnswerStream events = fovea.stream(LONG)) {
      while (events.hasNext()) {
        if (events.next() instanceof Event.Text more) {
          text.append(more.text());
          tokens += more.tokenIds().size();
          Patience.sleep(10);
        }
      }
    }
    assertEquals(whole.text(), text.toString());
    assertEquals(whole.receipt().totals().outputTokens(), tokens);
  }
}
