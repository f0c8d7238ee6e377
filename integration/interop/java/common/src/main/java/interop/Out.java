package interop;

import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Base64;
import java.util.concurrent.atomic.AtomicLong;

/** OUT: what processors see, in the order in which they see it, a line of JSON for each event. */
public final class Out {
  private static PrintWriter out;
  public static final AtomicLong RECORDS = new AtomicLong();

  private Out() {}

  public static void open() throws Exception {
    out = new PrintWriter(Files.newBufferedWriter(Path.of(Env.need("OUT"))));
  }

  public static void event(String event, String worker, String shard) {
    write(line(event, worker, shard));
  }

  public static void record(String worker, String shard, String key, String seq, long sub, ByteBuffer data) {
    byte[] bytes = new byte[data.remaining()];
    data.duplicate().get(bytes);
    RECORDS.incrementAndGet();
    write(line("record", worker, shard).put("key", key).put("seq", seq).put("sub", sub)
        .put("data", Base64.getEncoder().encodeToString(bytes)));
  }

  /** Events of several programs are put in order by their times: milliseconds would be too coarse. */
  private static Json line(String event, String worker, String shard) {
    Instant now = Instant.now();
    return new Json().put("event", event).put("us", now.getEpochSecond() * 1_000_000 + now.getNano() / 1000)
        .put("worker", worker).put("shard", shard);
  }

  private static synchronized void write(Json j) {
    out.println(j);
  }

  public static synchronized void flush() {
    out.flush();
  }
}
