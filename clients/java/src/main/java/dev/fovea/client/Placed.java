package dev.fovea.client;

import java.util.List;

/**
 * Which rows of an image a plan sends. {@code known} is false where only the vision tower could tell
 * and was not to be run; {@code count} is then that of the whole image. {@code kept} are the places
 * of the rows on the merged grid, empty where all are sent; {@code order} those of all encoded rows,
 * the most important first, where it was asked for.
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
