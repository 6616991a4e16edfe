package dev.fovea.client;

/**
 * The 16x16 patches of a planned image: temporal, rows, columns. Four patches are merged into a
 * token.
 */
public record Grid(int t, int h, int w) {}
