//go:build linux

package nfqueue

import (
	"bytes"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What leaves a queue waits once more: in the backlog of the CPU, until the kernel
// passes it to the next interface (enqueue_to_backlog in net/core/dev.c). There is
// room for net.core.netdev_max_backlog packets, 1000 by default, and what finds
// none is lost. Mostly the kernel passes each one on at once. But before Linux 6.5
// it leaves that to the thread ksoftirqd while that is awake (ksoftirqd_running in
// kernel/softirq.c), which on a busy CPU comes after a process that releases
// thousands of packets. Therefore they are released in steps.
const (
	// stepSize is how many packets are released before the backlog is looked at,
	// and how many it may then have for the next step.
	stepSize = 256
	// backlogPause is the time between two looks at a backlog.
	backlogPause = 50 * time.Microsecond
	// longestPause ends the wait for a CPU that other traffic keeps busy.
	longestPause = 20 * time.Millisecond
	// blindPause is the wait before Linux 5.10, which says nothing of its backlog.
	blindPause = time.Millisecond
)

// pauseOver reports whether the next step may follow one that ended so long ago.
func pauseOver(k conn, ago time.Duration) bool {
	packets, known := k.backlog()
	if !known {
		return ago >= blindPause
	}
	return packets <= stepSize || ago >= longestPause
}

// backlog returns how many packets wait in the backlog of this thread's CPU, where
// what it releases goes, and false if the kernel does not say. Others' traffic on
// other CPUs does not matter.
func (s *socket) backlog() (packets uint32, known bool) {
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return 0, false
	}
	content, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0, false
	}
	return backlogOf(cpu, content)
}

// backlogOf reads the format of softnet_seq_show in net/core/net-procfs.c: a line
// for each CPU, with hexadecimal columns.
func backlogOf(cpu uint32, softnet []byte) (packets uint32, known bool) {
	const length, number = 11, 12 // columns
	for line := range bytes.Lines(softnet) {
		columns := bytes.Fields(line)
		if len(columns) <= number {
			return 0, false
		}
		if of, err := strconv.ParseUint(string(columns[number]), 16, 32); err != nil || uint32(of) != cpu {
			continue
		}
		packets, err := strconv.ParseUint(string(columns[length]), 16, 32)
		return uint32(packets), err == nil
	}
	return 0, false
}
