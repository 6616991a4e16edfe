package dev.fovea.client;

import java.time.Instant;

/**
 * Which records to read: requests that began from {@code start}, before {@code end}. Null selects
 * all. An empty tenant is the caller's own, or all for operators.
 */
public record UsageFilter(Instant start, Instant end, String tenant, Outcome outcome) {

  /** All records that the caller may read. */
  public static final UsageFilter ALL = new UsageFilter(null, null, "", null);

  /** Only requests that began at this time or later. */
  public UsageFilter withStart(Instant start) {
    return new UsageFilter(start, end, tenant, outcome);
  }

  /** Only requests that began before this time. */
  public UsageFilter withEnd(Instant end) {
    return new UsageFilter(start, end, tenant, outcome);
  }

  /** Only this tenant. For operators; others read their own records only. */
  public UsageFilter withTenant(String tenant) {
    return new UsageFilter(start, end, tenant, outcome);
  }

  /** Only requests that ended so. */
  public UsageFilter withOutcome(Outcome outcome) {
    return new UsageFilter(start, end, tenant, outcome);
  }
}
