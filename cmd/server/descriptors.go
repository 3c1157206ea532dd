package main

import "syscall"

// reservedDescriptors are for what is no connection of a client: some twenty of the database, the links of a cluster,
// notifications, and files.
const reservedDescriptors = 256

// mostConnections is how many connections this process can hold, by the file descriptors that it may have: the runtime has raised
// the soft limit to the hard one. Accept fails when there are none left, and so does all else that opens a file.
func mostConnections() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		limit.Cur = 1024 // what POSIX systems give at least
	}
	return connectionsOf(limit.Cur)
}

func connectionsOf(descriptors uint64) int {
	const plenty = 1 << 20 // memory ends before
	return int(max(min(descriptors, plenty), 2*reservedDescriptors) - reservedDescriptors)
}
