package arch_test

const module = "github.com/streamkit/streamkit"

// Names of other modules' packages, short enough for a table. Each stands for
// the package and all below it.
const (
	awsCore    = "github.com/aws/aws-sdk-go-v2/aws"
	awsConfig  = "github.com/aws/aws-sdk-go-v2/config"
	awsCreds   = "github.com/aws/aws-sdk-go-v2/credentials"
	awsAll     = "github.com/aws/aws-sdk-go-v2"
	cloudwatch = "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	dynamodb   = "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	firehose   = "github.com/aws/aws-sdk-go-v2/service/firehose"
	kinesis    = "github.com/aws/aws-sdk-go-v2/service/kinesis"
	smithy     = "github.com/aws/smithy-go"

	btree      = "github.com/tidwall/btree"
	cbor       = "github.com/fxamacker/cbor/v2"
	cobra      = "github.com/spf13/cobra"
	compress   = "github.com/klauspost/compress"
	fsnotify   = "github.com/fsnotify/fsnotify"
	prometheus = "github.com/prometheus/client_golang"
	protobuf   = "google.golang.org/protobuf"
	xsys       = "golang.org/x/sys"
	xterm      = "golang.org/x/term"
	xxhash     = "github.com/cespare/xxhash/v2"
	yaml       = "go.yaml.in/yaml/v3"
	zap        = "go.uber.org/zap"
	zapcore    = "go.uber.org/zap/zapcore"
)

// A rule says what the packages of one place may reach. Patterns are import
// paths, ours without the module's name; a final "/..." means all below as
// well.
type rule struct {
	pkg string // of ours; the most exact rule that fits a package governs it
	// may lists what it may import besides the standard library.
	may []string
	// never lists what must not be linked in by any way, not even through a
	// dependency of a dependency.
	never  []string
	why    string
	future bool // does not exist yet
}

var rules = []rule{
	{
		pkg:   "internal/...",
		may:   []string{"internal/..."},
		never: products,
		why:   "leaves serve every room: one that knows a product, or brings a module, forces it on all of them",
	},
	{
		pkg:   "internal/vfs",
		may:   []string{"internal/...", xsys + "/..."},
		never: products,
		why:   "the file system needs the system's own calls and nothing else",
	},
	{
		pkg:   "internal/b64",
		may:   []string{xsys + "/cpu"},
		never: products,
		why:   "base64 asks what the CPU can do, and has no other wish",
	},
	{
		pkg:   "internal/blockrec",
		may:   []string{"internal/...", compress + "/..."},
		never: products,
		why:   "block records are compressed, nothing else here is",
	},
	{
		pkg:   "internal/cwsend",
		may:   []string{"internal/...", cloudwatch + "/..."},
		never: products,
		why:   "sending to CloudWatch is the same for whoever measures",
	},
	{
		pkg:   "internal/peers",
		may:   []string{"internal/backoff"},
		never: append([]string{awsAll + "/...", smithy + "/..."}, products...),
		why:   "it says when to look at a table and must not know one: whatever it gets wrong, the table decides",
	},

	{
		pkg:   "producer",
		may:   []string{kinesis + "/...", awsCore + "/...", smithy + "/...", "internal/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, prometheus + "/...", protobuf + "/...", cobra, "consumer/...", "streamd/...", "agent/...", "logappender/..."},
		why:   "who only puts records must not carry leases, loggers, metrics or a server in the binary",
	},
	{
		pkg:   "producer/firehose",
		may:   []string{"producer", firehose + "/...", awsCore + "/...", smithy + "/...", "internal/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, prometheus + "/...", "consumer/...", "streamd/..."},
		why:   "the Firehose client is for those who deliver to Firehose",
	},
	{
		pkg:   "producer/producercw",
		may:   []string{"producer", cloudwatch + "/...", awsCore + "/...", smithy + "/...", "internal/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, prometheus + "/...", "consumer/...", "streamd/..."},
		why:   "the CloudWatch client is for those who publish there",
	},
	{
		pkg:   "producer/producerprom",
		may:   []string{"producer", prometheus + "/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, "consumer/...", "streamd/..."},
		why:   "metrics turn Stats into collectors and need no more",
	},

	{
		pkg: "consumer/...",
		may: []string{
			kinesis + "/...", awsCore + "/...", smithy + "/...",
			"consumer", "consumer/deaggregate", "consumer/memlease", "internal/...",
		},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, prometheus + "/...", protobuf + "/...", cobra, "producer/...", "streamd/...", "agent/...", "logappender/..."},
		why:   "who keeps leases elsewhere must not carry DynamoDB, and who reads must not carry what writes",
	},
	{
		pkg:   "consumer/deaggregate",
		may:   []string{"internal/...", kinesis + "/types"},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, prometheus + "/...", protobuf + "/...", "producer/...", "streamd/...", "consumer"},
		why:   "a Lambda function opens aggregated records without a consumer",
	},
	{
		pkg:   "consumer/dynamolease",
		may:   []string{"consumer", dynamodb + "/...", awsCore + "/...", smithy + "/...", "internal/..."},
		never: []string{awsConfig + "/...", zap, prometheus + "/...", protobuf + "/...", "producer/...", "streamd/..."},
		why:   "it is the one place that knows DynamoDB, and it does not know the servers that speak it",
	},
	{
		pkg:   "consumer/consumercw",
		may:   []string{"consumer", cloudwatch + "/...", awsCore + "/...", smithy + "/...", "internal/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, prometheus + "/...", "producer/...", "streamd/..."},
		why:   "the CloudWatch client is for those who publish there",
	},
	{
		pkg:   "consumer/consumerprom",
		may:   []string{"consumer", prometheus + "/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, "producer/...", "streamd/..."},
		why:   "metrics turn Stats into collectors and need no more",
	},

	{
		pkg: "agent/...",
		may: []string{
			"agent/...", "producer", "producer/firehose", fsnotify + "/...", prometheus + "/...",
			yaml + "/...", xxhash + "/...", "internal/...",
		},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, cobra, "consumer/...", "streamd/...", "logappender/..."},
		why:   "the agent is a library too: how credentials are found is for the command to say",
	},
	{
		pkg:   "agent/internal/tail",
		may:   []string{xxhash + "/...", xsys + "/...", "internal/..."},
		never: append([]string{awsAll + "/...", zap, prometheus + "/..."}, products...),
		why:   "a file is told from others by what only the system's own calls say of it, such as its time of birth",
	},

	{
		pkg:   "logappender",
		may:   []string{"producer", zapcore + "/...", zap + "/buffer", "internal/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", prometheus + "/...", protobuf + "/...", cobra, zap, "consumer/...", "streamd/...", "agent/..."},
		why:   "a logging core is linked into every program that logs",
	},
	{
		pkg:   "logappender/logappenderprom",
		may:   []string{"logappender", prometheus + "/...", zapcore + "/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", zap, "consumer/...", "streamd/..."},
		why:   "metrics turn Stats into collectors and need no more",
	},
	{
		pkg:   "logappender/zapsink",
		may:   []string{"logappender", "producer", zap + "/...", "internal/..."},
		never: []string{dynamodb + "/...", awsConfig + "/...", prometheus + "/...", "consumer/...", "streamd/..."},
		why:   "registering a sink needs zap's front package",
	},

	{
		pkg: "streamd/...",
		may: []string{
			"streamd/...", prometheus + "/...", btree + "/...", xxhash + "/...",
			compress + "/...", "internal/...",
		},
		never: []string{cbor, awsAll + "/...", smithy, zap, cobra, "producer/...", "consumer/...", "agent/...", "logappender/..."},
		why:   "a server that shares code with its clients proves nothing when they agree",
	},
	{
		pkg: "streamd/streamdtest",
		may: []string{
			"streamd", kinesis + "/...", dynamodb + "/...", awsCore + "/...", awsCreds + "/...", smithy + "/...", "internal/...",
		},
		never: []string{awsConfig + "/...", zap, cobra, "producer/...", "consumer/...", "agent/...", "logappender/..."},
		why:   "tests of the producer and the consumer use it, so it must not need them",
	},

	{
		pkg: "cmd/...",
		may: []string{
			"agent", "consumer", "consumer/consumerprom", "consumer/deaggregate", "consumer/dynamolease", "consumer/memlease",
			"logappender", "producer", "producer/firehose", "streamd", "internal/...", "cmd/...",
			awsAll + "/...", smithy + "/...", cobra + "/...", prometheus + "/...",
			yaml + "/...", zap + "/...", xsys + "/...", xterm + "/...", xxhash + "/...",
		},
		never: []string{"streamd/streamdtest", "consumer/leasetest", "testing"},
		why:   "commands tie the rooms together, and ship no test helpers",
	},

	{
		pkg: "integration/...",
		may: []string{
			"agent", "consumer", "consumer/deaggregate", "consumer/dynamolease", "consumer/memlease", "logappender",
			"producer", "streamd", "streamd/streamdtest", "integration/...", "internal/...",
			awsAll + "/...", smithy + "/...", zap + "/...",
		},
		why: "tests may use everything that users may; nobody ships them",
	},
}

// products are the rooms of the house.
var products = []string{
	"producer/...", "consumer/...", "agent/...", "logappender/...", "streamd/...", "cmd/...",
}

// testHelpers are the packages made for tests: the only ones that may import
// "testing", which adds flags to every binary that links it.
var testHelpers = []string{"streamd/streamdtest", "consumer/leasetest", "internal/arch", "integration/..."}
