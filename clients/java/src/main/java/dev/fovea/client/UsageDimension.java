package dev.fovea.client;

/** By what usage is summed up. */
public enum UsageDimension {
  TENANT,
  /** By the tiers that were tried, joined by {@code >}. */
  TIER,
  /** By the UTC hour in which the request began. */
  HOUR,
  MODEL,
  /** By what the images mostly show. Several kinds are joined by {@code +}. */
  IMAGE_KIND
}
