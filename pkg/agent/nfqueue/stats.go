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

// queueStats is one line of what the kernel tells about its queues.
type queueStats struct {
	waiting uint64 // packets in the queue
	dropped uint64 // packets lost because the queue or its reader was full
}

// readQueueStats returns what the kernel says of every queue that has a
// reader, by number.
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
// net/netfilter/nfnetlink_queue.c: queue, reader's port id, packets that wait,
// copy mode, copy range, dropped by the queue, dropped by the reader, last id
// and a constant 1.
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
