package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.RetrievalConfig;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * Reads STREAM as the application APP with WORKERS workers, by RETRIEVAL (polling or fanout), until
 * standard input ends. What the processors see is in OUT.
 */
public final class Kcl {
  public static void main(String[] args) throws Exception {
    Trust.install();
    Out.open();
    Report report = new Report("amazon-kinesis-client", Scheduler.class);
    int workers = Env.number("WORKERS", 2);

    Region region = Region.of(Env.region());
    KinesisAsyncClient kinesis = KinesisClientUtil.createKinesisAsyncClient(
        KinesisAsyncClient.builder().region(region).endpointOverride(Env.kinesis()));
    DynamoDbAsyncClient dynamodb =
        DynamoDbAsyncClient.builder().region(region).endpointOverride(Env.dynamodb()).build();
    CloudWatchAsyncClient cloudwatch = CloudWatchAsyncClient.builder().region(region).build();

    List<Scheduler> schedulers = new ArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < workers; i++) {
      String worker = Env.get("WORKER", "worker") + "-" + i;
      Scheduler s = scheduler(worker, kinesis, dynamodb, cloudwatch);
      schedulers.add(s);
      Thread t = new Thread(s, worker);
      t.setDaemon(true);
      t.start();
      threads.add(t);
      // Two workers of version 3 that make the first rows of a table in the same
      // moment hinder each other: one gives up.
      if (i < workers - 1) {
        Thread.sleep(Env.number("STAGGER_MS", 4000));
      }
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
      for (Scheduler s : schedulers) {
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

  private static Scheduler scheduler(
      String worker, KinesisAsyncClient kinesis, DynamoDbAsyncClient dynamodb, CloudWatchAsyncClient cloudwatch)
      throws Exception {
    String stream = Env.need("STREAM");
    String app = Env.need("APP");
    int failover = Env.number("FAILOVER_MS", 3000);
    ConfigsBuilder configs = new ConfigsBuilder(
        new SingleStreamTracker(
            stream, InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON)),
        app, kinesis, dynamodb, cloudwatch, worker, () -> new Processor(worker));
    RetrievalConfig retrieval = configs.retrievalConfig();
    if (Env.get("RETRIEVAL", "polling").equals("fanout")) {
      retrieval.retrievalSpecificConfig(new FanOutConfig(kinesis).streamName(stream).applicationName(app));
    } else {
      PollingConfig polling = new PollingConfig(stream, kinesis);
      polling.idleTimeBetweenReadsInMillis(Env.number("IDLE_MS", 250));
      retrieval.retrievalSpecificConfig(polling);
    }
    var leases = configs.leaseManagementConfig().failoverTimeMillis(failover)
        .shardSyncIntervalMillis(1000);
    Later.cleanUp(leases, Env.number("CLEANUP_MS", 0));
    Later.set(leases, "leaseAssignmentIntervalMillis", 2L * failover);
    Later.set(leases, "dynamoDbLockBasedLeaderLeaseDurationInMillis", Env.number("LOCK_MS", 0));
    Later.set(leases, "dynamoDbLockBasedLeaderHeartbeatPeriodInMillis", Env.number("LOCK_MS", 0) / 4);
    CoordinatorConfig coordinator = configs.coordinatorConfig().parentShardPollIntervalMillis(1000);
    Later.version(coordinator, Env.get("CLIENT_VERSION", ""));
    Later.set(coordinator, "migrateAllEntitiesToLeaseTable", Env.number("ONE_TABLE", 0) != 0);
    Scheduler scheduler = new Scheduler(
        configs.checkpointConfig(),
        coordinator,
        leases,
        configs.lifecycleConfig(),
        configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
        configs.processorConfig(),
        retrieval);
    Later.shorten(scheduler, Env.number("STABLE_SECONDS", 0));
    return scheduler;
  }

  private static final class Processor implements ShardRecordProcessor {
    private static final long HALT_AT_SUB = Env.number("HALT_AT_SUB", -1);
    private final String worker;
    private String shard;

    Processor(String worker) {
      this.worker = worker;
    }

    @Override
    public void initialize(InitializationInput in) {
      shard = in.shardId();
      Out.event("begin", worker, shard);
    }

    @Override
    public void processRecords(ProcessRecordsInput in) {
      for (KinesisClientRecord r : in.records()) {
        Out.record(worker, shard, r.partitionKey(), r.sequenceNumber(), r.subSequenceNumber(), r.data());
        if (r.subSequenceNumber() == HALT_AT_SUB && r.aggregated()) {
          halt(in, r);
        }
      }
      if (!in.records().isEmpty()) {
        try {
          // What a checkpoint says must not be lost with this process.
          Out.flush();
          in.checkpointer().checkpoint();
        } catch (Exception e) {
          Out.event("checkpoint failed: " + e, worker, shard);
        }
      }
    }

    /** Ends the process with a checkpoint in the middle of an aggregate. */
    private void halt(ProcessRecordsInput in, KinesisClientRecord at) {
      try {
        in.checkpointer().checkpoint(at.sequenceNumber(), at.subSequenceNumber());
        Out.event("halted", worker, shard);
      } catch (Exception e) {
        Out.event("checkpoint failed: " + e, worker, shard);
      }
      Out.flush();
      Runtime.getRuntime().halt(0);
    }

    @Override
    public void leaseLost(LeaseLostInput in) {
      Out.event("lost", worker, shard);
    }

    @Override
    public void shardEnded(ShardEndedInput in) {
      Out.event("ended", worker, shard);
      Out.flush();
      try {
        in.checkpointer().checkpoint();
      } catch (Exception e) {
        Out.event("checkpoint failed: " + e, worker, shard);
        throw new IllegalStateException(e); // the client tries again
      }
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput in) {
      Out.event("requested", worker, shard);
      Out.flush();
      try {
        in.checkpointer().checkpoint();
      } catch (Exception e) {
        Out.event("checkpoint failed: " + e, worker, shard);
      }
    }
  }
}
