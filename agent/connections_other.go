//go:build !linux && !darwin && !windows

package agent

import "context"

type connectionSource struct{}

func (connectionSource) close() {}

func (connectionSource) count(context.Context, *machine) (connectionCounts, error) {
	return connectionCounts{}, errUnsupported
}
