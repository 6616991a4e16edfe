package dev.fovea.client;

/**
 * Which tiers may answer. {@code tier} names the tier that must; empty allows any. {@code hopLimit} is
 * the most tiers that may run a model; 0 is no limit. {@code parentRequestId}, the request that caused
 * this one, is only recorded. With {@code allowTextSubstitution}, text read from an image may replace its
 * pixels where that is cheaper.
 */
public record Route(
    String tier, int hopLimit, String parentRequestId, boolean allowTextSubstitution) {
  /** Any tier. */
  public static final Route ANY = new Route("", 0, "", false);

  /** Any tier, and text read from an image may replace its pixels. */
  public static Route allowingText() {
    return new Route("", 0, "", true);
  }

  /** Only this tier. */
  public static Route pinned(String tier) {
    return new Route(tier, 0, "", false);
  }
}
