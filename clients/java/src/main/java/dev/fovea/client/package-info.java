/**
 * The Java client of Fovea: asks about images, with plain values in and out.
 *
 * <p>{@link dev.fovea.client.Fovea} calls the decoder, {@link dev.fovea.client.FoveaEncoder} an
 * encoder. Every failure is a {@link dev.fovea.client.FoveaException} with the server's code,
 * reason and values. A local file that cannot be read is an {@link java.io.UncheckedIOException}.
 * No protobuf type leaves this package.
 */
package dev.fovea.client;
