//go:build linux

package nfqueue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// queueStats is what the kernel has counted for one queue.
type queueStats struct {
	waiting uint64 // packets in the queue now
	dropped uint64 // packets lost because the queue or its reader's buffer was full
}

// readQueueStats returns the statistics of every queue that has a reader, by
// number. Queues are those of the network namespace.
func readQueueStats() (map[uint16]queueStats, error) {
	file, err := os.Open("/proc/net/netfilter/nfnetlink_queue")
	if errors.Is(err, fs.ErrNotExist) {
		return map[uint16]queueStats{}, nil // the kernel has no queues yet
	}
	if err != nil {
		return nil, fmt.Errorf("read queue statistics: %w", err)
	}
	defer file.Close()
	return parseQueueStats(file)
}

// parseQueueStats reads the format of seq_show in
// net/netfilter/nfnetlink_queue.c. Its columns are: queue number, port id of the
// reader, packets in the queue, copy mode, copy range, packets dropped because
// the queue was full, packets dropped because the reader's buffer was full, last
// packet id, and a constant 1.
func parseQueueStats(r io.Reader) (map[uint16]queueStats, error) {
	all := make(map[uint16]queueStats)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var number uint16
		var reader, mode, size, full, lost uint64
		var s queueStats
		if _, err := fmt.Sscan(lines.Text(), &number, &reader, &s.waiting, &mode, &size, &full, &lost); err != nil {
			return nil, fmt.Errorf("read queue statistics %q: %w", lines.Text(), err)
		}
		s.dropped = full + lost
		all[number] = s
	}
	return all, lines.Err()
}
