package scenario

import (
	"context"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// localScenarios have DynamoDB Local: its answers compared, and fleets whose table it
// holds.
var localScenarios = []Scenario{
	{
		Name: "tables-local", What: "what KCLs have asked of tables, played to DynamoDB Local and to streamd",
		run: func(ctx context.Context, p *play) error {
			return p.local(ctx, func() error { return p.answers(ctx) })
		},
	},
	{
		Name: "fleet-kcl2-local", What: "as fleet-kcl2, with the table in DynamoDB Local",
		run: func(ctx context.Context, p *play) error {
			return p.local(ctx, func() error { return p.fleet2(ctx, java("kcl2")) })
		},
	},
	{
		Name: "fleet-kcl3-local", What: "as fleet-kcl3, with the table in DynamoDB Local",
		run: func(ctx context.Context, p *play) error {
			return p.local(ctx, func() error { return p.fleet3(ctx, java("kcl3")) })
		},
	},
}

// local runs DynamoDB Local meanwhile, and has it hold all tables.
func (p *play) local(ctx context.Context, run func() error) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	tables, err := p.javaArgs(ctx, "tables", "software.amazon.dynamodb.services.local.main.ServerRunner",
		[]string{"-inMemory", "-sharedDb", "-disableTelemetry", "-port", port})
	if err != nil {
		return err
	}
	p.elsewhere, p.elsewhereProgram = "http://"+addr, tables
	return run()
}

// tablesReady waits until the other server of tables answers.
func (p *play) tablesReady(ctx context.Context) error {
	if p.elsewhere == "" {
		return nil
	}
	return eventually(ctx, time.Minute, func() error {
		if p.elsewhereProgram.ended() {
			return errGiveUp
		}
		_, err := p.dynamodb().ListTables(ctx, &dynamodb.ListTablesInput{})
		return err
	})
}
