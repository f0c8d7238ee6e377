package interop;

import com.amazonaws.auth.DefaultAWSCredentialsProviderChain;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.dynamodbv2.AmazonDynamoDBClientBuilder;
import com.amazonaws.services.kinesis.AmazonKinesisClientBuilder;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.IRecordProcessorCheckpointer;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IRecordProcessor;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IShutdownNotificationAware;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.InitialPositionInStream;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.KinesisClientLibConfiguration;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.ShutdownReason;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.Worker;
import com.amazonaws.services.kinesis.clientlibrary.types.InitializationInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ProcessRecordsInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ShutdownInput;
import com.amazonaws.services.kinesis.clientlibrary.types.UserRecord;
import com.amazonaws.services.kinesis.metrics.impl.NullMetricsFactory;
import com.amazonaws.services.kinesis.model.Record;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Reads STREAM as the application APP with WORKERS workers until standard input ends. */
public final class Kcl1 {
  public static void main(String[] args) throws Exception {
    Trust.install();
    Out.open();
    Report report = new Report("amazon-kinesis-client", Worker.class);
    int workers = Env.number("WORKERS", 2);
    int failover = Env.number("FAILOVER_MS", 3000);
    var kinesis = AmazonKinesisClientBuilder.standard()
        .withEndpointConfiguration(new EndpointConfiguration(Env.kinesis().toString(), Env.region())).build();
    var dynamodb = AmazonDynamoDBClientBuilder.standard()
        .withEndpointConfiguration(new EndpointConfiguration(Env.dynamodb().toString(), Env.region())).build();
    List<Worker> list = new ArrayList<>();
    for (int i = 0; i < workers; i++) {
      String name = Env.get("WORKER", "worker") + "-" + i;
      var config = new KinesisClientLibConfiguration(
          Env.need("APP"), Env.need("STREAM"), new DefaultAWSCredentialsProviderChain(), name)
          .withRegionName(Env.region())
          .withInitialPositionInStream(InitialPositionInStream.TRIM_HORIZON)
          .withFailoverTimeMillis(failover)
          .withShardSyncIntervalMillis(1000)
          .withIdleTimeBetweenReadsInMillis(Env.number("IDLE_MS", 250))
          .withParentShardPollIntervalMillis(1000);
      Worker w = new Worker.Builder().recordProcessorFactory(() -> new Processor(name)).config(config)
          .kinesisClient(kinesis).dynamoDBClient(dynamodb).metricsFactory(new NullMetricsFactory()).build();
      Thread t = new Thread(w, name);
      t.setDaemon(true);
      t.start();
      list.add(w);
    }
    Thread flusher = new Thread(() -> {
      while (true) {
        Out.flush();
        try {
          Thread.sleep(200);
        } catch (InterruptedException e) {
          return;
        }
      }
    });
    flusher.setDaemon(true);
    flusher.start();
    while (System.in.read() >= 0) {
      // Whoever started this holds it open.
    }
    report.check("the workers stop", () -> {
      List<Future<Boolean>> stops = new ArrayList<>();
      for (Worker s : list) {
        stops.add(s.startGracefulShutdown());
      }
      String how = "in an orderly way";
      int atMost = Env.number("STOP_SECONDS", 20);
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(atMost);
      for (Future<Boolean> f : stops) {
        try {
          if (!f.get(end - System.nanoTime(), TimeUnit.NANOSECONDS)) {
            how = "startGracefulShutdown says that it was not orderly";
          }
        } catch (TimeoutException e) {
          // Version 2 waits for the processors of shards that ended long ago.
          how = "the last processor was told; startGracefulShutdown had not returned after " + atMost + " s";
        }
      }
      return workers + " workers, " + Out.RECORDS.get() + " records; " + how;
    });
    Out.flush();
    report.exit();
  }

  private static final class Processor implements IRecordProcessor, IShutdownNotificationAware {
    private final String worker;
    private String shard;

    Processor(String worker) {
      this.worker = worker;
    }

    @Override
    public void initialize(InitializationInput in) {
      shard = in.getShardId();
      Out.event("begin", worker, shard);
    }

    @Override
    public void processRecords(ProcessRecordsInput in) {
      for (Record r : in.getRecords()) {
        long sub = r instanceof UserRecord u ? u.getSubSequenceNumber() : 0;
        Out.record(worker, shard, r.getPartitionKey(), r.getSequenceNumber(), sub, r.getData());
      }
      if (!in.getRecords().isEmpty()) {
        checkpoint(in.getCheckpointer());
      }
    }

    @Override
    public void shutdown(ShutdownInput in) {
      boolean end = in.getShutdownReason() == ShutdownReason.TERMINATE;
      Out.event(end ? "ended" : "lost", worker, shard);
      if (end) {
        Out.flush();
        try {
          in.getCheckpointer().checkpoint();
        } catch (Exception e) {
          Out.event("checkpoint failed: " + e, worker, shard);
          throw new IllegalStateException(e); // the client tries again
        }
      }
    }

    @Override
    public void shutdownRequested(IRecordProcessorCheckpointer c) {
      Out.event("requested", worker, shard);
      checkpoint(c);
    }

    private void checkpoint(IRecordProcessorCheckpointer c) {
      try {
        Out.flush(); // what a checkpoint says must not be lost with this process
        c.checkpoint();
      } catch (Exception e) {
        Out.event("checkpoint failed: " + e, worker, shard);
      }
    }
  }
}
