package plugin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// What is followed, in looks of Surroundings.Poll, which is half a second.
const (
	// askEvery is how often agents are asked.
	askEvery = 6
	// readEvery is how often all is read that no change was told of: a person may have no right
	// to watch, and a watch can be lost.
	readEvery = 30
)

// follow shows how it is until ctx ends, each time that something changes.
func (s *showing) follow(ctx context.Context) error {
	changed := s.changes(ctx)
	tick := time.NewTicker(s.Poll)
	defer tick.Stop()
	screen := &screen{showing: s}
	var now *picture
	for looks := 0; ; looks++ {
		isNews := looks%readEvery == 0
		select {
		case <-changed:
			isNews = true
		default:
		}
		if isNews || looks%askEvery == 0 {
			before := now
			if isNews {
				before = nil
			}
			next, err := s.see(ctx, before)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil && now == nil:
				return err
			case err == nil:
				now = next
			}
			if err := screen.show(now, err); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// retryTime is when a watch is tried again that has ended.
const retryTime = 5 * time.Second

// changes returns a channel that has something when a change was told of, until ctx ends. Many
// changes are one.
func (s *showing) changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	if s.connection.Watch == nil {
		return changed
	}
	for list, options := range map[client.ObjectList][]client.ListOption{
		&tcv1alpha1.TidbClusterList{}:   nil,
		&corev1.PodList{}:               {client.MatchingLabels(tidbcluster.OperatorLabels())},
		&v1alpha1.NetworkFaultList{}:    nil,
		&v1alpha1.NetworkTopologyList{}: nil,
	} {
		options = append(options, client.InNamespace(s.key.Namespace))
		go wait.UntilWithContext(ctx, func(ctx context.Context) {
			w, err := s.connection.Watch(ctx, list, options...)
			if err != nil {
				return // it is read now and then
			}
			defer w.Stop()
			for range w.ResultChan() {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		}, retryTime)
	}
	return changed
}

// screen is where pictures are shown: a terminal, on which each is drawn over the one before,
// or a file, which gets a block for each that says something new.
type screen struct {
	*showing
	shown, said string
}

// show shows a picture, and why it is not newer, if that is so.
func (s *screen) show(now *picture, late error) error {
	said := ""
	if late != nil {
		said = fmt.Sprintf("error: %v; it is tried again\n", late)
	}
	var content bytes.Buffer
	words := *s.showing
	words.app = new(*s.app)
	words.Out = &content
	if err := words.show(now); err != nil {
		return err
	}
	text := content.String()
	if s.IsTerminal && s.isTable() {
		return s.draw(said + text)
	}
	if said != s.said {
		s.said = said
		_, _ = io.WriteString(s.ErrOut, said)
	}
	essence, err := now.essence()
	if err != nil || essence == s.shown {
		return err
	}
	s.shown = essence
	switch {
	case s.isTable():
		text = "at " + s.Now().UTC().Format(time.RFC3339) + "\n" + text + "\n"
	case s.output == "yaml":
		text = "---\n" + text
	}
	return s.print(text)
}

// draw draws a text on the terminal, if it is another one.
func (s *screen) draw(text string) error {
	if text == s.shown {
		return nil
	}
	isFirst := s.shown == ""
	s.shown = text
	return s.print(drawn(text, isFirst, s.Height()))
}

func (s *screen) print(text string) error {
	if _, err := io.WriteString(s.Out, text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// What a terminal is told (ECMA-48 and xterm's control sequences). Each line is drawn over the
// one that is there and its rest erased, so that nothing flickers, and one that is too long is
// cut and not wrapped.
const (
	eraseAll   = "\x1b[2J"
	toTop      = "\x1b[H"
	eraseRight = "\x1b[K"
	eraseBelow = "\x1b[J"
	cutLines   = "\x1b[?7l"
	wrapLines  = "\x1b[?7h"
)

// drawn returns what draws a text over what a terminal of some lines shows; of 0 if that is not
// known.
func drawn(text string, isFirst bool, height int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if most := height - 1; height > 2 && len(lines) > most {
		lines = append(lines[:most-1], fmt.Sprintf("%d lines more; a taller window shows them", len(lines)-most+1))
	}
	start := toTop
	if isFirst {
		start = eraseAll + toTop
	}
	return start + cutLines + strings.Join(lines, eraseRight+"\n") + eraseRight + "\n" + eraseBelow + wrapLines
}
