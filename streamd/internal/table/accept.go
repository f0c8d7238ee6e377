package table

import (
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Accept is [Parse] for what a client sends. It also refuses what Parse must go
// on to take because a journal may hold it: see the package comment.
func Accept(op string, body []byte) (*Request, error) {
	if what, ok := notHere[op]; ok {
		return nil, awserr.New(codeUnknown, "The operation %s is not supported: tables have no %s here.", op, what)
	}
	r, err := Parse(op, body)
	if err != nil {
		return nil, err
	}
	if r.p.table != nil && len(r.p.table.refused) > 0 {
		return nil, invalid("%s is not supported here: leave it out", strings.Join(r.p.table.refused, ", "))
	}
	if t := r.p.table; r.op == opUpdateTable && t.billing == billingProvisioned && t.throughput == nil {
		return nil, invalidParameter("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
	}
	return r, nil
}

// notHere are the operations of DynamoDB that are not supported, and what
// belongs to each. Source: the operations of Amazon DynamoDB API Reference.
var notHere = map[string]string{
	"ExecuteStatement": partiQL, "BatchExecuteStatement": partiQL, "ExecuteTransaction": partiQL,

	"CreateBackup": backups, "DeleteBackup": backups, "DescribeBackup": backups, "ListBackups": backups,
	"RestoreTableFromBackup": backups, "RestoreTableToPointInTime": backups,

	"CreateGlobalTable": replicas, "DescribeGlobalTable": replicas, "DescribeGlobalTableSettings": replicas,
	"ListGlobalTables": replicas, "UpdateGlobalTable": replicas, "UpdateGlobalTableSettings": replicas,
	"DescribeTableReplicaAutoScaling": replicas, "UpdateTableReplicaAutoScaling": replicas,

	"EnableKinesisStreamingDestination": streams, "DisableKinesisStreamingDestination": streams,
	"DescribeKinesisStreamingDestination": streams, "UpdateKinesisStreamingDestination": streams,

	"DescribeContributorInsights": insights, "ListContributorInsights": insights, "UpdateContributorInsights": insights,

	"ExportTableToPointInTime": exports, "DescribeExport": exports, "ListExports": exports,
	"ImportTable": exports, "DescribeImport": exports, "ListImports": exports,

	"PutResourcePolicy": policies, "GetResourcePolicy": policies, "DeleteResourcePolicy": policies,

	"DescribeEndpoints": "endpoints to discover",
}

const (
	partiQL  = "PartiQL"
	backups  = "backups"
	replicas = "replicas"
	streams  = "streams of changes"
	insights = "contributor insights"
	exports  = "exports and imports"
	policies = "policies of their own"
)

// refuse returns a reader of a member that asks for what is not supported.
func refuse(name string) func(*params, *reader) {
	return func(p *params, r *reader) {
		if r.null() {
			return
		}
		r.skip()
		p.table.refused = append(p.table.refused, name)
	}
}
