/**
 * The Java client of Fovea: asks about images, with plain values in and plain values out.
 *
 * <p>{@link dev.fovea.client.Fovea} talks to the decoder, the front door; {@link
 * dev.fovea.client.FoveaEncoder} to one encoder. Every failure is a {@link
 * dev.fovea.client.FoveaException} with the server's own code, reason and facts; a local file that
 * cannot be read is an {@link java.io.UncheckedIOException}. No protobuf type leaves this package.
 */
package dev.fovea.client;
