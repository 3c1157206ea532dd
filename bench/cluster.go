package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cluster is a TimescaleDB of the benchmark's own, which it may kill. The repository's script provides it.
type cluster struct {
	script, directory string
	port              int
	url               string
}

// startCluster starts a new one. remove it in any case.
func (o *Options) startCluster(ctx context.Context) (*cluster, error) {
	directory, err := os.MkdirTemp("", "gohub-bench-cluster-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	c := &cluster{script: o.ClusterScript, directory: directory, port: o.ClusterPort}
	if _, err := c.provide(ctx, "status"); err == nil { // where it runs in a container, it is known by its port only
		return nil, errors.Join(fmt.Errorf("a cluster runs on port %d already, which is not ours to kill; give another --cluster-port", c.port),
			os.RemoveAll(directory))
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// start starts it, for the first time or after a kill, and returns when it takes connections.
func (c *cluster) start(ctx context.Context) error {
	output, err := c.provide(ctx, "start")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	c.url = lines[len(lines)-1]
	return nil
}

// kill ends all its processes with SIGKILL.
func (c *cluster) kill(ctx context.Context) error {
	_, err := c.provide(ctx, "kill")
	return err
}

// remove stops it and deletes its data. It works after the run's context has ended.
func (c *cluster) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := c.provide(ctx, "destroy")
	return errors.Join(err, os.RemoveAll(c.directory))
}

// provide runs the script, with the cluster's own place instead of what the caller's environment says.
func (c *cluster) provide(ctx context.Context, command string) (string, error) {
	script := exec.CommandContext(ctx, c.script, command)
	script.WaitDelay = 10 * time.Second // should the database hold the script's output open
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "GOHUB_DATABASE_URL=") {
			script.Env = append(script.Env, setting)
		}
	}
	script.Env = append(script.Env, "GOHUB_TIMESCALEDB_PORT="+strconv.Itoa(c.port), "GOHUB_TIMESCALEDB_DATA="+filepath.Join(c.directory, "data"))
	var said bytes.Buffer
	script.Stderr = &said
	output, err := script.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w; it said:\n%s", c.script, command, err, strings.TrimSpace(said.String()))
	}
	return string(output), nil
}
