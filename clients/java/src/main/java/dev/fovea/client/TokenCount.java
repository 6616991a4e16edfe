package dev.fovea.client;

/** The cost of an image. {@code rowBytes} is the size of all its rows. */
public record TokenCount(
    Size original, Size planned, Grid grid, int patches, int tokens, long rowBytes) {}
