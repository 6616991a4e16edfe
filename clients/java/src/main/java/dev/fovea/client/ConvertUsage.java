package dev.fovea.client;

import com.google.protobuf.Timestamp;
import dev.fovea.decoder.v1.ListUsageRequest;
import dev.fovea.decoder.v1.SummarizeUsageRequest;
import java.time.Instant;

/** Converts messages of the ledger to values of the client. Makes no calls. */
final class ConvertUsage {
  private ConvertUsage() {}

  static SummarizeUsageRequest summarize(UsageDimension by, UsageFilter filter) {
    return SummarizeUsageRequest.newBuilder()
        .setFilter(filter(filter))
        .setBy(
            Convert.message(dev.fovea.decoder.v1.UsageDimension.class, "USAGE_DIMENSION", by))
        .build();
  }

  static ListUsageRequest list(UsageFilter filter, String page) {
    return ListUsageRequest.newBuilder().setFilter(filter(filter)).setPageToken(page).build();
  }

  private static dev.fovea.decoder.v1.UsageFilter filter(UsageFilter filter) {
    var built =
        dev.fovea.decoder.v1.UsageFilter.newBuilder()
            .setTenant(filter.tenant())
            .setOutcome(
                Convert.message(dev.fovea.decoder.v1.Outcome.class, "OUTCOME", filter.outcome()));
    if (filter.start() != null) {
      built.setStartTime(timestamp(filter.start()));
    }
    if (filter.end() != null) {
      built.setEndTime(timestamp(filter.end()));
    }
    return built.build();
  }

  private static Timestamp timestamp(Instant time) {
    return Timestamp.newBuilder()
        .setSeconds(time.getEpochSecond())
        .setNanos(time.getNano())
        .build();
  }

  static UsageRecord record(dev.fovea.decoder.v1.UsageRecord message) {
    return new UsageRecord(
        message.getId(),
        message.getRequestId(),
        message.getParentRequestId(),
        message.getTenant(),
        Convert.instant(message.getStartTime()),
        message.getMethod(),
        Convert.value(Outcome.class, message.getOutcome(), Outcome.FAILED),
        message.getReason(),
        message.getModel(),
        Convert.receipt(message.getReceipt()));
  }

  static UsageSummary summary(dev.fovea.decoder.v1.UsageSummary message) {
    return new UsageSummary(
        message.getKey(),
        Integer.toUnsignedLong(message.getRequests()),
        Integer.toUnsignedLong(message.getOk()),
        Integer.toUnsignedLong(message.getLength()),
        Integer.toUnsignedLong(message.getCancelled()),
        Integer.toUnsignedLong(message.getDeadline()),
        Integer.toUnsignedLong(message.getRefused()),
        Integer.toUnsignedLong(message.getFailed()),
        (long) message.getTextTokens(),
        (long) message.getVisualTokens(),
        (long) message.getNaiveVisualTokens(),
        (long) message.getCachedPromptTokens(),
        (long) message.getOutputTokens(),
        Integer.toUnsignedLong(message.getEncodes()),
        message.getWireBytes(),
        new Receipt.Price(
            message.getAmount(), message.getCurrency(), message.getNaiveAmount()));
  }

  static Anomaly anomaly(dev.fovea.decoder.v1.Anomaly message) {
    return new Anomaly(
        Convert.value(AnomalyKind.class, message.getKind(), AnomalyKind.UNKNOWN),
        message.getTenant(),
        Convert.instant(message.getTime()),
        message.getRequestId(),
        message.getImageKind(),
        message.getUsual(),
        message.getValue(),
        message.getTier());
  }
}
