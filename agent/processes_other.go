//go:build !linux && !windows && !darwin

package agent

import "context"

type processSource struct{}

func (processSource) close() {}

func (processSource) scan(context.Context, *machine) (processScan, error) {
	return processScan{}, errUnsupported
}

func (processSource) count(context.Context, *machine) (uint32, error) { return 0, errUnsupported }

func processDetails(_ *machine, p *process) (name, uid string) { return p.name, "" }

func lookupUser(_ *machine, id string) (string, error) { return id, nil }
