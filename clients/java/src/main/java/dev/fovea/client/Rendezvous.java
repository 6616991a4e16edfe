package dev.fovea.client;

import com.dynatrace.hash4j.hashing.Hashing;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.Image;
import dev.fovea.decoder.v1.Part;
import dev.fovea.decoder.v1.Role;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * Which of several servers gets the calls of a key: rendezvous hashing, and a bound on the calls
 * that each has. The clients of other languages make the same choice.
 */
final class Rendezvous {
  /**
   * A server with fewer calls is never passed over: it computes as many together, and the next
   * server would compute again what this one has cached.
   */
  private static final int FREE_CALLS = 16;

  /** Above that, a server has at most 5/4 of the average. */
  private static final int SLACK_ABOVE = 5;

  private static final int SLACK_BELOW = 4;

  private Rendezvous() {}

  /**
   * The id of the first image, or else the text of the first message of the user. Requests with the
   * same key begin alike, so the decoder that has answered one has the beginning in its KV cache.
   */
  static String keyOf(GenerateRequest request) {
    for (var message : request.getMessagesList()) {
      for (var part : message.getPartsList()) {
        Image image = part.getImage();
        if (image.hasDigest()) {
          return image.getDigest();
        }
        if (image.hasData()) {
          return Upload.id(Upload.sha256().digest(image.getData().toByteArray()));
        }
      }
    }
    return request.getMessagesList().stream()
        .filter(message -> message.getRole() == Role.ROLE_USER)
        .findFirst()
        .map(first -> first.getPartsList().stream().map(Part::getText).collect(Collectors.joining()))
        .orElse("");
  }

  /** The addresses by decreasing hash with the key. If one leaves, the others keep their order. */
  static List<String> ranked(String key, Collection<String> addresses) {
    Map<String, Long> weights = new HashMap<>();
    addresses.forEach(address -> weights.put(address, weight(address, key)));
    Comparator<String> byWeight =
        (one, other) -> Long.compareUnsigned(weights.get(other), weights.get(one));
    return addresses.stream().sorted(byWeight.thenComparing(Comparator.reverseOrder())).toList();
  }

  private static long weight(String address, String key) {
    byte[] text = (address + "\n" + key).getBytes(StandardCharsets.UTF_8);
    return Hashing.xxh3_64().hashBytesToLong(text);
  }

  /** The most calls that a server may have, if `servers` have `calls` together. */
  static int bound(int calls, int servers) {
    int least = SLACK_BELOW * servers;
    return Math.max(FREE_CALLS, (SLACK_ABOVE * calls + least - 1) / least);
  }

  /**
   * The first address in rank order that stays within the bound with a call more (consistent
   * hashing with bounded loads: Mirrokni, Thorup and Zadimoghaddam, 2018). {@code calls} are those
   * that each address has now.
   */
  static String boundedOwner(String key, Map<String, Integer> calls) {
    int total = calls.values().stream().mapToInt(Integer::intValue).sum();
    int most = bound(total + 1, calls.size());
    return ranked(key, calls.keySet()).stream()
        .filter(address -> calls.get(address) < most)
        .findFirst()
        .orElseThrow();
  }
}
