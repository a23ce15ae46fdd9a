//go:build linux

package nfqueue

import (
	"bytes"
	"os"
	"strconv"
	"time"
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

// backlog returns how many packets wait in the longest backlog of any CPU, and
// false if the kernel does not say.
func (s *socket) backlog() (packets uint32, known bool) {
	content, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0, false
	}
	return longestBacklog(content)
}

// longestBacklog reads the format of softnet_seq_show in net/core/net-procfs.c:
// a line for each CPU, with hexadecimal columns.
func longestBacklog(softnet []byte) (packets uint32, known bool) {
	const column = 11
	for line := range bytes.Lines(softnet) {
		columns := bytes.Fields(line)
		if len(columns) <= column {
			return 0, false
		}
		length, err := strconv.ParseUint(string(columns[column]), 16, 32)
		if err != nil {
			return 0, false
		}
		packets, known = max(packets, uint32(length)), true
	}
	return packets, known
}
