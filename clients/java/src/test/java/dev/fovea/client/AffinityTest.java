package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.fovea.decoder.v1.Delta;
import dev.fovea.decoder.v1.Finished;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.Started;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Several decoders: which one gets a call, and which one if that is gone. */
@Timeout(120)
class AffinityTest {
  private final List<FakeDecoder> decoders = new ArrayList<>();
  private Fovea fovea;

  @BeforeEach
  void connect() {
    for (int count = 0; count < 3; count++) {
      FakeDecoder decoder = new FakeDecoder();
      decoder.generate = (request, out) -> answer(decoder.numericAddress(), out);
      decoders.add(decoder);
    }
    // The token may be sent, because all of them are on this machine.
    fovea = Fovea.builder(String.join(", ", addresses())).token("secret").build();
  }

  @AfterEach
  void close() {
    fovea.close();
    decoders.forEach(FakeDecoder::close);
  }

  private static void answer(String text, StreamObserver<GenerateResponse> out) {
    var delta = Delta.newBuilder().setText(text);
    out.onNext(GenerateResponse.newBuilder().setStarted(Started.getDefaultInstance()).build());
    out.onNext(GenerateResponse.newBuilder().setDelta(delta).build());
    out.onNext(GenerateResponse.newBuilder().setFinished(Finished.getDefaultInstance()).build());
    out.onCompleted();
  }

  private List<String> addresses() {
    return decoders.stream().map(FakeDecoder::numericAddress).toList();
  }

  private static List<String> ids(int count) {
    return IntStream.range(0, count)
        .mapToObj(number -> Integer.toString(number).getBytes(StandardCharsets.UTF_8))
        .map(data -> Upload.of(data).digest())
        .toList();
  }

  private String askedAbout(String id) {
    return fovea.ask(Question.of("?", Image.stored(id))).text();
  }

  @Test
  void requestsAboutAnImageGoToItsDecoder() {
    for (String id : ids(30)) {
      String owner = Rendezvous.ranked(id, addresses()).get(0);
      assertEquals(owner, askedAbout(id));
      assertEquals(owner, askedAbout(id));
    }
  }

  @Test
  void onlyImagesOfADecoderThatEndedMove() {
    askedAbout(ids(1).get(0));
    FakeDecoder gone = decoders.get(0);
    gone.close();
    for (String id : ids(30)) {
      List<String> order =
          Rendezvous.ranked(id, addresses()).stream()
              .filter(address -> !address.equals(gone.numericAddress()))
              .collect(Collectors.toList());
      assertEquals(order.get(0), askedAbout(id));
    }
  }

  @Test
  void aDecoderThatRefusesIsPassedOver() {
    FakeDecoder drains = decoders.get(0);
    drains.generate = (request, out) -> out.onError(Details.unavailable());
    List<String> owned =
        ids(64).stream()
            .filter(id -> Rendezvous.ranked(id, addresses()).get(0).equals(drains.numericAddress()))
            .limit(3)
            .toList();
    owned.forEach(id -> assertNotEquals(drains.numericAddress(), askedAbout(id)));
    assertFalse(drains.asked.isEmpty());
  }

  @Test
  void aListWithoutPortsIsRefused() {
    for (String list : List.of("127.0.0.1:1,", "a,b", "a:1,dns:///b:1", "a:1,b:70000")) {
      var failure = assertThrows(FoveaException.class, () -> Fovea.connect(list));
      assertEquals(Reason.INVALID_ARGUMENT, failure.reason());
    }
  }
}
