package matrix

import (
	"slices"
	"time"
)

// All is the matrix of this project.
func All() Matrix {
	return Matrix{Runtimes: runtimes, Fetches: fetches, Rows: slices.Concat(javaRows(), rows), Absent: absent}
}

var runtimes = []Runtime{
	{Name: "python", Probe: []string{"python3", "-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 10)"}, How: "install Python 3.10 or newer with venv"},
	{Name: "node", Probe: []string{"sh", "-c", "npm --version && node -e \"if (+process.versions.node.split('.')[0] < 20) throw 'older than 20'\""}, How: "install Node.js 20 or newer, with npm"},
	{Name: "java", Probe: []string{"sh", "-c", "javac -version && mvn --batch-mode --version"}, How: "install a JDK of 17 or newer, and Maven"},
	{Name: "boto2", Probe: []string{"/usr/bin/python3", "-c", "import boto.kinesis.layer1"}, How: "install Debian's python3-boto"},
	{Name: "awscli2", Probe: []string{"sh", "-c", "/usr/bin/aws --version | grep ^aws-cli/2"}, How: "install Debian's awscli"},
	{Name: "ruby", Probe: []string{"ruby", "-r", "aws-sdk-v1", "-e", ""}, How: "install Debian's ruby and ruby-aws-sdk"},
}

var fetches = []Fetch{
	{
		Name: "java", Inputs: []string{"integration/interop/java"},
		Steps: [][]string{{"mvn", "--batch-mode", "--quiet", "-f", "integration/interop/java/pom.xml", "package"}},
	},
	{
		Name: "java-more", Inputs: []string{"integration/interop/java"},
		Steps: [][]string{{"mvn", "--batch-mode", "--quiet", "-P", "more", "-f", "integration/interop/java/pom.xml", "package"}},
	},
	venv("boto3"),
	venv("awscli"),
	{
		Name: "kclpy", Inputs: []string{"integration/interop/python/kclpy.txt"},
		// Only its source: what it would be installed with is Java.
		Steps: [][]string{
			{"mkdir", "-p", "{work}/kclpy"},
			{"python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:", "-d", "{work}/kclpy", "-r", "integration/interop/python/kclpy.txt"},
			{"sh", "-c", "tar xzf {work}/kclpy/amazon_kclpy-*.tar.gz -C {work}/kclpy --strip-components=1"},
		},
	},
	{
		Name: "streamctl", Inputs: []string{"cmd", "consumer", "internal"},
		Steps: [][]string{{"go", "build", "-o", "{work}/streamctl", "./cmd/streamctl"}},
	},
	{
		Name:   "node",
		Inputs: []string{"integration/interop/node/package.json", "integration/interop/node/package-lock.json"},
		Steps: [][]string{
			{"mkdir", "-p", "{work}/node"},
			{"cp", "integration/interop/node/package.json", "integration/interop/node/package-lock.json", "{work}/node"},
			{"npm", "ci", "--prefix", "{work}/node", "--no-audit", "--no-fund", "--ignore-scripts"},
		},
	},
}

// venv fetches the packages that a list of integration/interop/python pins.
func venv(name string) Fetch {
	list := "integration/interop/python/" + name + ".txt"
	return Fetch{
		Name: name, Inputs: []string{list},
		Steps: [][]string{
			{"python3", "-m", "venv", "{work}/" + name},
			{"{work}/" + name + "/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", list},
		},
	}
}

var rows = []Row{
	{
		Name: "boto3", Needs: []string{"python"}, Fetch: []string{"boto3"}, Smoke: true,
		Command: []string{"{work}/boto3/bin/python", "integration/interop/python/boto3_all.py"},
		Shards:  2, Limit: 2 * time.Minute, After: []Step{readBack},
	},
	{
		Name: "js3", Needs: []string{"node"}, Fetch: []string{"node"}, Smoke: true,
		Command: node("kinesis3.mjs"), Env: trustNode,
		Shards: 2, Limit: 2 * time.Minute, After: []Step{readBack},
	},
	{
		Name: "js2", Needs: []string{"node"}, Fetch: []string{"node"},
		Command: node("kinesis2.mjs"), Env: trustNode,
		Shards: 2, After: []Step{readBack},
	},
	{
		Name: "awscli1", Needs: []string{"python"}, Fetch: []string{"awscli"},
		Command: []string{"python3", "integration/interop/python/cli.py"}, Env: []string{"AWS={work}/awscli/bin/aws"},
		Shards: 2, Records: 20, Limit: 5 * time.Minute, After: []Step{readBack},
	},
	{
		Name: "awscli2", Needs: []string{"python", "awscli2"},
		Command: []string{"python3", "integration/interop/python/cli.py"}, Env: []string{"AWS=/usr/bin/aws"},
		Shards: 2, Records: 20, Long: true, Limit: 5 * time.Minute, After: []Step{readBack},
	},
	{
		Name: "kclpy", Needs: []string{"python"}, Fetch: []string{"boto3", "kclpy", "streamctl"},
		Command: []string{"{work}/boto3/bin/python", "integration/interop/python/kclpy.py"},
		Env:     []string{"KCLPY={work}/kclpy", "STREAMCTL={work}/streamctl"},
		Shards:  2, Limit: 2 * time.Minute,
	},
	{
		Name: "kcljs", Needs: []string{"node"}, Fetch: []string{"node", "streamctl"},
		Command: node("kcl.mjs"), Env: []string{"STREAMCTL={work}/streamctl"},
		Shards: 2, Limit: 2 * time.Minute,
	},
	{
		Name: "boto2", Needs: []string{"boto2"},
		Command: []string{"/usr/bin/python3", "integration/interop/python/boto2.py"},
		Serve:   []string{"--allow-host", "kinesis.us-east-1.amazonaws.com"}, // as through a proxy
		Shards:  2, After: []Step{readBack},
	},
	{
		Name: "ruby1", Needs: []string{"ruby"},
		Command: []string{"ruby", "integration/interop/ruby/kinesis1.rb"},
		Shards:  2, After: []Step{readBack},
	},
	{
		Name: "js-agg", Needs: []string{"node"}, Fetch: []string{"node"},
		Command: node("aggregation.mjs"), Env: trustNode,
		During: putAggregated, After: []Step{sameAsRead, allPut},
	},
	{
		Name: "python-agg", Needs: []string{"python"}, Fetch: []string{"boto3"},
		Command: []string{"{work}/boto3/bin/python", "integration/interop/python/aggregation.py"},
		During:  putAggregated, After: []Step{sameAsRead, allPut},
	},
}

var trustNode = []string{"NODE_EXTRA_CA_CERTS={work}/ca.pem"}

// node runs a program beside its packages: Node.js looks for them from the
// program's place upwards.
func node(program string) []string {
	return []string{"sh", "-c", "cp integration/interop/node/*.mjs {work}/node && exec node {work}/node/" + program}
}

// absent is what the package managers of a machine with Debian 12 said.
var absent = []Absent{
	{
		Client: "Apache Flink's source (flink-connector-aws-kinesis-streams)", Tried: "mvn dependency:get -Dartifact=org.apache.flink:flink-connector-aws-kinesis-streams:5.0.0-1.20, and 5.1.0-1.20, 6.0.0-2.0; flink-connector-kinesis:5.0.0-1.20, 4.3.0-1.18, 1.15.4", Date: "2026-11-27",
		Error: "Could not find artifact org.apache.flink:flink-connector-aws-kinesis-streams:jar:5.0.0-1.20 in central", Cover: "flink",
	},
	{
		Client: "fluent-bit", Tried: "apt-get install fluent-bit", Date: "2026-11-26",
		Error: "E: Unable to locate package fluent-bit", Cover: "fluent-bit",
	},
	{
		Client: "AWS SDK for PHP 3", Tried: "composer require aws/aws-sdk-php:3.356.0", Date: "2026-11-26",
		Error: "curl error 6 while downloading packages.json: Could not resolve host", Cover: "php",
	},
	{
		Client: "AWS SDK for .NET 4", Tried: "apt-get install dotnet-sdk-8.0", Date: "2026-11-26",
		Error: "E: Couldn't find any package by glob 'dotnet-sdk-8.0'", Cover: "dotnet",
	},
	{
		Client: "AWS SDK for Ruby 3", Tried: "gem install aws-sdk-kinesis -v 1.99.0", Date: "2026-11-26",
		Error: "ERROR:  Could not find a valid gem 'aws-sdk-kinesis' (= 1.99.0): Name or service not known", Cover: "ruby3",
	},
}
