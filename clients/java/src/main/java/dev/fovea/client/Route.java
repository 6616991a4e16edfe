package dev.fovea.client;

/**
 * Which tiers may answer. {@code tier} names the tier that must; empty allows any. {@code hopLimit} is
 * the most tiers that may run a model; 0 is no limit. {@code parentRequestId}, the request that caused
 * this one, is only recorded.
 */
public record Route(String tier, int hopLimit, String parentRequestId) {
  /** Any tier. */
  public static final Route ANY = new Route("", 0, "");

  /** Only this tier. */
  public static Route pinned(String tier) {
    return new Route(tier, 0, "");
  }
}
