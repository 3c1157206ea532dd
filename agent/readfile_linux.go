package agent

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// readFile is os.ReadFile without the calls that the runtime makes to learn whether a file can be polled: on the small
// files of /proc they cost as much as the reading.
func readFile(path string) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) // read only: nothing to lose
	data, err := readFrom(fd, make([]byte, 0, 4096))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, nil
}

// readFrom reads an open file from its beginning to its end into the buffer, which it lets grow.
func readFrom(fd int, buffer []byte) ([]byte, error) {
	buffer = buffer[:0]
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, make([]byte, cap(buffer)+4096)...)[:len(buffer)]
		}
		n, err := retry(func() (int, error) { return unix.Pread(fd, buffer[len(buffer):cap(buffer)], int64(len(buffer))) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return buffer, nil
		}
		buffer = buffer[:len(buffer)+n]
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// keptFile is a file of /proc that is read at every sample: it is kept open, since finding it costs more than reading it,
// and its text is good until the next read. Not safe for concurrent use.
type keptFile struct {
	fd     int // 0 is not open: that one is standard input's
	buffer []byte
}

// read takes the path in parts, which need not be joined for a file that is open.
func (f *keptFile) read(parts ...string) ([]byte, error) {
	if f.fd == 0 {
		path := filepath.Join(parts...)
		fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		f.fd = fd
	}
	data, err := readFrom(f.fd, f.buffer)
	if err != nil {
		f.close() // it is opened anew next time
		return nil, &fs.PathError{Op: "read", Path: filepath.Join(parts...), Err: err}
	}
	f.buffer = data
	return data, nil
}

func (f *keptFile) close() {
	if f.fd > 0 {
		_ = unix.Close(f.fd) // read only: nothing to lose
		f.fd = 0
	}
}
