package dev.fovea.client;

/** Whether a service can answer yet. */
public enum ServingState {
  LOADING,
  SERVING,
  DRAINING,
  FAILED,
  UNKNOWN
}
