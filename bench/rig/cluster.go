package rig

import (
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

// Cluster is a database server to do anything to: one of its own, which deploy/timescaledb/provide makes.
type Cluster struct {
	// directory is ours; data, which the script makes in it, is the cluster's.
	url, directory, data string
	port                 int
	script               string
}

// StartCluster makes an empty cluster on a port. Remove it in any case.
func StartCluster(ctx context.Context, script string, port int) (*Cluster, error) {
	directory, err := os.MkdirTemp("", "gohub-cluster-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	c := &Cluster{directory: directory, data: filepath.Join(directory, "data"), port: port, script: script}
	if _, err := c.provide(ctx, "status"); err == nil { // where it runs in a container, it is known by its port only
		return nil, errors.Join(fmt.Errorf("a cluster runs on port %d already, which is not ours to kill; name another port", port),
			os.RemoveAll(directory))
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

// URL is where the cluster is.
func (c *Cluster) URL() string { return c.url }

// Remove stops the cluster and deletes it. It works after a run's context has ended.
func (c *Cluster) Remove() error {
	c.Thaw() // a frozen one would not stop
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := c.provide(ctx, "destroy")
	return errors.Join(err, os.RemoveAll(c.directory))
}

// provide runs the script, with the cluster's own place instead of what the caller's environment says, and returns the last
// line that it says.
func (c *Cluster) provide(ctx context.Context, command string) (string, error) {
	run := exec.CommandContext(ctx, c.script, command)
	run.WaitDelay = 10 * time.Second // should the database hold the script's output open
	run.Env = append(os.Environ(), "GOHUB_DATABASE_URL=", "GOHUB_TIMESCALEDB_PORT="+strconv.Itoa(c.port), "GOHUB_TIMESCALEDB_DATA="+c.data)
	complaints := &Tail{}
	run.Stderr = complaints
	output, err := run.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w; it said:\n%s", c.script, command, err, complaints)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return lines[len(lines)-1], nil
}

// Start starts it, for the first time or after a kill, and returns when it takes connections.
func (c *Cluster) Start(ctx context.Context) (err error) {
	c.url, err = c.provide(ctx, "start")
	return err
}

// Kill ends all its processes with SIGKILL.
func (c *Cluster) Kill(ctx context.Context) error {
	_, err := c.provide(ctx, "kill")
	return err
}

// each does something to every process of the cluster, and returns how many there are. PostgreSQL's processes all stand
// in its data directory, which they may see under another name.
func (c *Cluster) each(do func(pid int) error) (count int) {
	here, err := os.Stat(filepath.Join(c.data, "pg"))
	if err != nil {
		return 0 // in a container, whose processes are not ours to see
	}
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		comm, err := os.ReadFile(filepath.Join(name, "comm"))
		if err != nil || strings.TrimSpace(string(comm)) != "postgres" {
			continue
		}
		directory, err := os.Stat(filepath.Join(name, "cwd"))
		if err != nil || !os.SameFile(here, directory) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(name))
		if err == nil && do(pid) == nil {
			count++
		}
	}
	return count
}

// Freeze stops every process of the cluster where it is, until Thaw. The postmaster could start another one while they are
// looked for: look until there is no new one.
func (c *Cluster) Freeze() error {
	for before := -1; ; {
		count := c.each(Freeze)
		if count == 0 {
			return fmt.Errorf("no process of the cluster in %s is to be seen from here", c.data)
		}
		if count == before {
			return nil
		}
		before = count
	}
}

// Thaw has them go on.
func (c *Cluster) Thaw() { c.each(Thaw) }
