package dev.fovea.client;

import dev.fovea.decoder.v1.GenerateResponse;
import io.grpc.Status;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Consumer;

/**
 * A streamed answer: Started, then Texts in order, then Finished. The server waits for slow
 * readers. Closing the stream early cancels the request on the server. For a single thread at a
 * time.
 */
public final class AnswerStream implements Iterator<Event>, AutoCloseable {
  private final Call<?, GenerateResponse> call;
  private Event next;
  private boolean ended;

  /** Waits for the first event, so that a refused request fails here. */
  AnswerStream(Call<?, GenerateResponse> call) {
    this.call = call;
    try {
      hasNext();
    } catch (RuntimeException failed) {
      call.close();
      throw failed;
    }
  }

  /** Waits for the next event or the end. */
  @Override
  public boolean hasNext() {
    while (next == null && !ended) {
      GenerateResponse message = call.next();
      ended = message == null;
      next = ended ? null : Convert.event(message);
    }
    if (next instanceof Event.Finished && !ended) {
      // Whoever leaves at the last event has left nothing unread: the call ends well on both sides.
      ended = call.next() == null;
    }
    return next != null;
  }

  @Override
  public Event next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the answer has ended");
    }
    Event event = next;
    next = null;
    return event;
  }

  /** The complete answer from here on. {@code onText} is called with each piece as it arrives. */
  Answer collect(Consumer<String> onText) {
    StringBuilder text = new StringBuilder();
    List<Integer> tokenIds = new ArrayList<>();
    List<Float> logprobs = new ArrayList<>();
    List<ByteBuffer> tokenBytes = new ArrayList<>();
    List<List<TokenLogprob>> topLogprobs = new ArrayList<>();
    StringBuilder reasoning = new StringBuilder();
    List<ToolCall.Delta> toolCalls = new ArrayList<>();
    Event.Started started = null;
    Event.Finished finished = null;
    while (hasNext()) {
      Event event = next();
      if (event instanceof Event.Started first) {
        started = first;
      } else if (event instanceof Event.Text more) {
        text.append(more.text());
        tokenIds.addAll(more.tokenIds());
        logprobs.addAll(more.logprobs());
        tokenBytes.addAll(more.tokenBytes());
        topLogprobs.addAll(more.topLogprobs());
        reasoning.append(more.reasoning());
        toolCalls.addAll(more.toolCalls());
        onText.accept(more.text());
      } else if (event instanceof Event.Finished last) {
        finished = last;
      }
    }
    if (started == null || finished == null) {
      throw new FoveaException(
          Status.Code.INTERNAL,
          Reason.ANSWER_INCOMPLETE,
          "the answer ended without its closing message");
    }
    return new Answer(
        text.toString(),
        finished.reason(),
        finished.matchedStop(),
        started.model(),
        started.requestId(),
        List.copyOf(tokenIds),
        List.copyOf(logprobs),
        List.copyOf(tokenBytes),
        List.copyOf(topLogprobs),
        reasoning.toString(),
        ToolCall.merged(toolCalls),
        finished.receipt());
  }

  @Override
  public void close() {
    next = null;
    ended = true;
    call.close();
  }
}
