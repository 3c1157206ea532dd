package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountSource keeps the table of mounts open and reads it again only when the kernel says that it changed. It is used by
// one call at a time.
type mountSource struct {
	open   bool
	fd     int
	buffer []byte
	mounts []mount
}

// list returns the mounts that process 1 sees, which are the machine's; an agent that may not look there, or that is
// confined by its service manager, sees its own. fresh is false if they are those of the call before.
func (s *mountSource) list(_ context.Context, m *machine) (mounts []mount, fresh bool, err error) {
	if !s.open {
		if s.fd, err = openMountinfo(m.proc); err != nil {
			return nil, false, err
		}
		s.open = true
		s.mounts = nil
	}
	// See proc_pid_mountinfo(5): a change is an error event, once a change. It has to be taken before the reading.
	event := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLPRI}}
	_, pollErr := unix.Poll(event, 0)
	if s.mounts != nil && pollErr == nil && event[0].Revents&(unix.POLLPRI|unix.POLLERR) == 0 {
		return s.mounts, false, nil
	}
	s.buffer, err = readFrom(s.fd, s.buffer)
	if err == nil {
		mounts, err = parseMountinfo(s.buffer)
	}
	if err != nil {
		s.close()
		return nil, false, err
	}
	for i := range mounts {
		if mounts[i].device == "/dev/root" { // what the boot loader called it; the kernel knows its name
			if target, err := os.Readlink(filepath.Join(m.sys, "dev/block", mounts[i].id)); err == nil {
				mounts[i].device = "/dev/" + filepath.Base(target)
			}
		}
	}
	s.mounts = mounts
	return mounts, true, nil
}

func (s *mountSource) close() {
	if s.open {
		_ = unix.Close(s.fd) // read only: nothing to lose
		s.open, s.mounts = false, nil
	}
}

func openMountinfo(proc string) (fd int, err error) {
	for _, process := range []string{"1", "self"} {
		path := filepath.Join(proc, process, "mountinfo")
		fd, err = retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
		if err == nil {
			return fd, nil
		}
		err = &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return 0, err
}

// underRoot is where a path of the machine is found by the agent.
func (m *machine) underRoot(path string) string {
	if m.root == "/" {
		return path
	}
	return filepath.Join(m.root, path)
}

// statFilesystem asks the kernel. gopsutil multiplies by f_bsize, but blocks are counted in f_frsize; some FUSE
// filesystems have the two differ.
func statFilesystem(path string) (filesystemUsage, error) {
	var s unix.Statfs_t
	for {
		err := unix.Statfs(path, &s)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return filesystemUsage{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
	unit := uint64(s.Frsize)
	if s.Frsize <= 0 {
		unit = uint64(s.Bsize)
	}
	available := s.Bavail
	if int64(available) < 0 { // more is used than the reserve for root leaves
		available = 0
	}
	return filesystemUsage{
		size:       times(s.Blocks, unit),
		used:       times(s.Blocks-min(s.Bfree, s.Blocks), unit),
		available:  times(available, unit),
		inodes:     s.Files,
		inodesUsed: s.Files - min(s.Ffree, s.Files),
	}, nil
}
