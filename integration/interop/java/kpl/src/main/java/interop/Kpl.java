package interop;

import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.MoreExecutors;
import java.io.PrintWriter;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import software.amazon.kinesis.producer.Attempt;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordFailedException;
import software.amazon.kinesis.producer.UserRecordResult;

/**
 * Puts RECORDS user records of BYTES bytes, at PER_SECOND (0: as fast as it takes them), and writes
 * what it was told of each to OUT: the program that reads the stream compares.
 */
public final class Kpl {
  public static void main(String[] args) throws Exception {
    String stream = Env.need("STREAM");
    int n = Env.number("RECORDS", 5000);
    int perSecond = Env.number("PER_SECOND", 0);
    int bytes = Env.number("BYTES", 100);
    int keys = Env.number("KEYS", 200);
    boolean hashKeys = Env.number("HASH_KEYS", 1) != 0;
    Report report = new Report("amazon-kinesis-producer", KinesisProducer.class);

    KinesisProducerConfiguration config = new KinesisProducerConfiguration()
        .setRegion(Env.region())
        .setKinesisEndpoint(Env.kinesis().getHost())
        .setKinesisPort(Env.kinesis().getPort())
        .setMetricsLevel("none")
        .setRecordTtl(Env.number("TTL_MS", 60_000))
        .setRecordMaxBufferedTime(Env.number("BUFFERED_MS", 100))
        .setAggregationMaxSize(Env.number("AGGREGATE_BYTES", 51_200))
        .setRequestTimeout(Env.number("REQUEST_TIMEOUT_MS", 6_000))
        // The native process also knows CA_FILE, but what Java tells it goes before.
        .setCaCertFile(Env.need("STREAMD_CA"));
    KinesisProducer producer = new KinesisProducer(config);

    Random random = new Random(1);
    CountDownLatch answered = new CountDownLatch(n);
    AtomicInteger failed = new AtomicInteger();
    AtomicInteger again = new AtomicInteger();
    AtomicInteger wrongShard = new AtomicInteger();
    AtomicInteger throttled = new AtomicInteger();
    List<String> errors = new ArrayList<>();
    try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(Env.need("OUT"))))) {
      long began = System.nanoTime();
      for (int i = 0; i < n; i++) {
        if (perSecond > 0) {
          long ahead = i * 1_000_000_000L / perSecond - (System.nanoTime() - began);
          if (ahead > 1_000_000) {
            Thread.sleep(ahead / 1_000_000);
          }
        } else {
          while (producer.getOutstandingRecordsCount() > 10_000) {
            Thread.sleep(5);
          }
        }
        String key = "key-" + i % keys;
        // Every seventh says itself where it belongs.
        String hash = hashKeys && i % 7 == 3 ? new BigInteger(128, random).toString() : null;
        byte[] data = new byte[Math.max(bytes, 12)];
        random.nextBytes(data);
        ByteBuffer.wrap(data).putInt(i % keys).putLong(i / keys);
        int number = i;
        Futures.addCallback(
            producer.addUserRecord(stream, key, hash, ByteBuffer.wrap(data)),
            new FutureCallback<UserRecordResult>() {
              @Override
              public void onSuccess(UserRecordResult r) {
                note(r, true);
              }

              @Override
              public void onFailure(Throwable t) {
                failed.incrementAndGet();
                if (t instanceof UserRecordFailedException e) {
                  note(e.getResult(), false);
                } else {
                  synchronized (errors) {
                    errors.add(t.toString());
                  }
                }
                answered.countDown();
              }

              private void note(UserRecordResult r, boolean ok) {
                if (r.getAttempts().size() > 1) {
                  again.incrementAndGet();
                }
                for (Attempt a : r.getAttempts()) {
                  if (a.isSuccessful()) {
                    continue;
                  }
                  if ("Wrong Shard".equals(a.getErrorCode())) {
                    wrongShard.incrementAndGet();
                  } else if ("ProvisionedThroughputExceededException".equals(a.getErrorCode())) {
                    throttled.incrementAndGet();
                  }
                  // Messages name the record.
                  synchronized (errors) {
                    if (!errors.contains(a.getErrorCode())) {
                      errors.add(a.getErrorCode());
                    }
                  }
                }
                Json j = new Json().put("n", number).put("key", key).put("ok", ok)
                    .put("data", Base64.getEncoder().encodeToString(data));
                if (hash != null) {
                  j.put("hash", hash);
                }
                if (ok) {
                  j.put("shard", r.getShardId()).put("seq", r.getSequenceNumber());
                }
                synchronized (out) {
                  out.println(j);
                }
                if (ok) {
                  answered.countDown();
                }
              }
            },
            MoreExecutors.directExecutor());
      }
      producer.flush();
      report.check("every record is answered", () -> {
        Report.that(answered.await(Env.number("WAIT_SECONDS", 90), TimeUnit.SECONDS), answered.getCount() + " are not");
        return n + " records";
      });
    }
    report.check("every record is stored", () -> {
      Report.same("number of failed records", failed.get(), 0);
      return again.get() + " took more than one attempt; attempts refused as throttled: " + throttled.get()
          + ", on the wrong shard: " + wrongShard.get() + "; " + errors;
    });
    producer.destroy();
    report.exit();
  }
}
