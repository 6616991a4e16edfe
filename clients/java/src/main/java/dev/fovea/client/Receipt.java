package dev.fovea.client;

import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;

/**
 * The cost of an answer, by image and by stage. {@code degraded} is true if images lost detail
 * because the server was under load.
 */
public record Receipt(
    List<Image> images,
    Totals totals,
    Stages stagesMs,
    Tier tier,
    Price price,
    boolean degraded) {

  /**
   * The cost of an image. {@code tokensFull} is its cost at the checkpoint's own limits. {@code
   * wireBytes} is the number of bytes of rows sent for this answer. {@code repeatOf} is the index
   * of the earlier image that it repeats.
   */
  public record Image(
      String digest,
      Size original,
      Size planned,
      Grid grid,
      int patches,
      int tokensFull,
      int tokens,
      List<Step> steps,
      RowSource source,
      String encoder,
      RowDtype dtype,
      long rowBytes,
      long wireBytes,
      String rowsDigest,
      OptionalInt repeatOf,
      ImageKind kind) {}

  /** A step that changed an image or its tokens. Counts are visual tokens. */
  public record Step(String name, int before, int after, String reason) {}

  /**
   * Sums. The naive sums are those without planning and caching. {@code patches} are those that the
   * vision tower computed for this answer.
   */
  public record Totals(
      int visualTokens,
      int naiveVisualTokens,
      int textTokens,
      int cachedPromptTokens,
      int outputTokens,
      int encodes,
      long wireBytes,
      long rowBytes,
      long patches,
      long naivePatches) {
    /** The share of visual tokens that planning saved, 0 to 1. */
    public double saved() {
      return naiveVisualTokens == 0 ? 0 : 1 - (double) visualTokens / naiveVisualTokens;
    }
  }

  /** Milliseconds. Encoding and transfer are those of the slowest image, since images overlap. */
  public record Stages(
      double queue,
      double encode,
      double transfer,
      double prefill,
      double ttft,
      double decode,
      double total) {}

  /**
   * The tiers that were tried, of which the last answered, and why; {@code reasons} says of each why it
   * passed the request on or answered.
   */
  public record Tier(List<String> path, String reason, List<String> reasons) {}

  /**
   * The price by the operator's tariff; zero and empty without a tariff. {@code naiveAmount} is the
   * amount without planning and caching.
   */
  public record Price(double amount, String currency, double naiveAmount) {}

  /** A small table for people. */
  public String table() {
    StringBuilder table = new StringBuilder();
    line(table, "%-12s %11s %11s %7s %-8s %10s", "image", "original", "planned", "tokens", "rows", "moved");
    for (Image image : images) {
      String id = image.digest().replace("sha256:", "");
      line(
          table,
          "%-12s %11s %11s %,7d %-8s %,8d B",
          id.substring(0, Math.min(12, id.length())),
          image.original(),
          image.planned(),
          image.tokens(),
          image.source().name().toLowerCase(Locale.ROOT),
          image.wireBytes());
    }
    line(
        table,
        "tokens       %,d visual + %,d text in, %,d out; %d encoded",
        totals.visualTokens(),
        totals.textTokens(),
        totals.outputTokens(),
        totals.encodes());
    economy(table);
    line(
        table,
        "ms           encode %.1f, transfer %.1f, prefill %.1f, first token %.1f, decode %.1f, total %.1f",
        stagesMs.encode(),
        stagesMs.transfer(),
        stagesMs.prefill(),
        stagesMs.ttft(),
        stagesMs.decode(),
        stagesMs.total());
    return table.toString();
  }

  private void economy(StringBuilder table) {
    if (totals.visualTokens() < totals.naiveVisualTokens()) {
      double percent = 100 * totals.saved();
      line(table, "saved        %.0f%% of %,d visual tokens", percent, totals.naiveVisualTokens());
    }
    if (!price.currency().isEmpty()) {
      String text = "price        %.6f %s, without planning %.6f";
      line(table, text, price.amount(), price.currency(), price.naiveAmount());
    }
    if (degraded) {
      line(table, "detail was lowered: the service was near a limit");
    }
  }

  private static void line(StringBuilder table, String format, Object... values) {
    table.append(String.format(Locale.ROOT, format, values).stripTrailing()).append('\n');
  }
}
