package dev.fovea.client;

/** Receives the progress of an upload, in the thread that uploads. */
@FunctionalInterface
public interface Progress {
  /** Ignores the progress. */
  Progress UNHEARD = (sent, total) -> {};

  /** Called with the bytes handed to the connection and the total. */
  void sent(long bytes, long total);
}
