package dev.fovea.client;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.function.BooleanSupplier;

/**
 * A call for a thread that sends, then reads. At most a single message waits to be read, and a
 * message is sent only when the transport is ready, so that a slow side slows the other down.
 */
final class Call<Q, A> implements AutoCloseable {
  private final ClientCall<Q, A> call;
  private final String address;
  private A message;
  private Status status;
  private Metadata trailers;

  Call(ClientCall<Q, A> call, Metadata headers, String address) {
    this.call = call;
    this.address = address;
    call.start(new Inbox(), headers);
    call.request(1);
  }

  /** Sends the only message of a call. */
  void ask(Q request) {
    call.sendMessage(request);
    call.halfClose();
  }

  /** Sends a message of several. False if the response has arrived, so that no more is wanted. */
  boolean send(Q request) {
    await(() -> message != null || call.isReady());
    if (answered()) {
      return false;
    }
    call.sendMessage(request);
    return true;
  }

  /** Nothing more will be sent. */
  void end() {
    call.halfClose();
  }

  /** The only message of a response. */
  A only() {
    A answer = next();
    if (answer == null || next() != null) {
      throw new FoveaException(
          Status.Code.INTERNAL, Reason.ANSWER_INCOMPLETE, "the answer is not one message");
    }
    return answer;
  }

  /** The next message of the response, or null after the last. */
  A next() {
    await(() -> message != null);
    return take();
  }

  /** Ends the call on both sides. Does nothing if it has ended. */
  @Override
  public void close() {
    call.cancel("closed by the caller", null);
  }

  private synchronized boolean answered() {
    return message != null || status != null;
  }

  private synchronized A take() {
    if (message != null) {
      A taken = message;
      message = null;
      call.request(1);
      return taken;
    }
    if (!status.isOk()) {
      throw Failure.of(status, trailers, address);
    }
    return null;
  }

  private synchronized void await(BooleanSupplier condition) {
    try {
      while (status == null && !condition.getAsBoolean()) {
        wait();
      }
    } catch (InterruptedException left) {
      call.cancel("interrupted", left);
      Thread.currentThread().interrupt();
      throw new FoveaException(Status.Code.CANCELLED, Reason.ABORTED, "interrupted", left);
    }
  }

  private synchronized void change(Runnable happened) {
    happened.run();
    notifyAll();
  }

  private final class Inbox extends ClientCall.Listener<A> {
    @Override
    public void onMessage(A received) {
      change(() -> message = received);
    }

    @Override
    public void onReady() {
      change(() -> {});
    }

    @Override
    public void onClose(Status ended, Metadata last) {
      change(
          () -> {
            status = ended;
            trailers = last;
          });
    }
  }
}
