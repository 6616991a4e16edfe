package dev.fovea.client;

import java.time.Instant;

/**
 * A change in the use of a tenant, and the request with which it was found. {@code usual} and {@code
 * value} are visual tokens of an image with kind COST, otherwise shares from 0 to 1. {@code
 * imageKind} is empty with other kinds than COST. {@code tier} is set with kind SILENT_ERRORS,
 * {@code tenant} with all others.
 */
public record Anomaly(
    AnomalyKind kind,
    String tenant,
    Instant time,
    String requestId,
    String imageKind,
    double usual,
    double value,
    String tier) {}
