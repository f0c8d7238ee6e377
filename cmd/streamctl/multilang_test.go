package main

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/multilang"
)

// TestMultilangClients: the properties file says where to, with whose rights,
// and the command line wins.
func TestMultilangClients(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_REGION", "us-west-1")
	const least = "executableName=x\napplicationName=a\n"
	for _, tt := range []struct {
		name, file                 string
		opts                       endpoint.Options
		kinesis, kRegion           string
		dynamodb, dRegion, dAccess string
	}{
		{
			name: "the environment", file: "streamName=s",
			kinesis: "http://127.0.0.1:1", kRegion: "us-west-1", dynamodb: "http://127.0.0.1:1", dRegion: "us-west-1", dAccess: "local",
		},
		{
			name: "the file", file: "streamName=s\nregionName=eu-west-1\ndynamoDBRegionName=eu-west-2\nkinesisEndpoint=http://127.0.0.1:2\ndynamoDBEndpoint=http://127.0.0.1:3\nawsCredentialsProviderDynamoDB=StaticCredentialsProvider|id|secret",
			kinesis: "http://127.0.0.1:2", kRegion: "eu-west-1", dynamodb: "http://127.0.0.1:3", dRegion: "eu-west-2", dAccess: "id",
		},
		{
			name: "the ARN", file: "streamArn=arn:aws:kinesis:eu-north-1:123456789012:stream/s",
			kinesis: "http://127.0.0.1:1", kRegion: "eu-north-1", dynamodb: "http://127.0.0.1:1", dRegion: "eu-north-1", dAccess: "local",
		},
		{
			name: "the command line", file: "streamName=s\nregionName=eu-west-1\nkinesisEndpoint=http://127.0.0.1:2",
			opts:    endpoint.Options{Endpoint: "http://127.0.0.1:4", Region: "sa-east-1"},
			kinesis: "http://127.0.0.1:4", kRegion: "sa-east-1", dynamodb: "http://127.0.0.1:4", dRegion: "sa-east-1", dAccess: "local",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, err := multilang.ReadSettings(strings.NewReader(least + tt.file))
			if err != nil {
				t.Fatal(err)
			}
			a := &app{opts: tt.opts}
			k, db, err := a.multilangClients(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			ko, do := k.Options(), db.Options()
			if got := aws.ToString(ko.BaseEndpoint); got != tt.kinesis || ko.Region != tt.kRegion {
				t.Errorf("Kinesis at %s in %s", got, ko.Region)
			}
			if got := aws.ToString(do.BaseEndpoint); got != tt.dynamodb || do.Region != tt.dRegion {
				t.Errorf("DynamoDB at %s in %s", got, do.Region)
			}
			c, err := do.Credentials.Retrieve(t.Context())
			if err != nil || c.AccessKeyID != tt.dAccess {
				t.Errorf("DynamoDB with %q, %v", c.AccessKeyID, err)
			}
		})
	}
}
