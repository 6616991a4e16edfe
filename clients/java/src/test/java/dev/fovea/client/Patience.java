package dev.fovea.client;

import java.time.Duration;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/** Waiting for what comes soon; the bounds guard against hanging and are no measurements. */
final class Patience {
  private Patience() {}

  static void until(Duration atMost, Supplier<String> what, BooleanSupplier holds) {
    long end = System.nanoTime() + atMost.toNanos();
    while (!holds.getAsBoolean()) {
      if (System.nanoTime() > end) {
        throw new AssertionError("in vain: " + what.get());
      }
      sleep(100);
    }
  }

  static void sleep(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException left) {
      throw new IllegalStateException(left);
    }
  }
}
