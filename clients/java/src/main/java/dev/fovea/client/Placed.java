package dev.fovea.client;

import java.util.List;

/**
 * The rows that a plan selects. {@code known} is false if only the vision tower could tell and was
 * not run; {@code count} is then that of the whole image. {@code kept} lists the indices of the
 * rows on the merged grid, empty if all are sent. {@code order} lists the indices of all encoded
 * rows, the most important first, on request.
 */
public record Placed(
    boolean known,
    TokenCount cost,
    int count,
    List<Integer> kept,
    List<Integer> order,
    RowSource source,
    String encoder,
    String fingerprint,
    Rows.Timings timings) {}
