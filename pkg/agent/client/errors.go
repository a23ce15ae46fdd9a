package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Error is an answer whose status is not 200. Find it with errors.As.
//
// The statuses that a caller may want to handle: 409 for faults that conflict
// and for kernel state that somebody else made, 412 for an ETag that is old,
// 421 of another pod than Options.PodUID, 422 for what this kernel can't do, 429 for too many requests, 501 where no
// engine works, and 503 of Ready.
type Error struct {
	// Problem is the agent's problem document (RFC 9457). Its Type is empty when
	// the answer was none: that of Ready is text, and something between client
	// and agent may have answered. Detail then has the start of the answer.
	api.Problem
	// RetryAfter is how long the agent asks to wait; 0 when it does not say.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string {
	text := strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// IsTimeout reports whether an error is that there was no answer, or no connection, in time.
func IsTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
}

// Cause says what is wrong in an error of a request, without the addresses and ports, of
// which the caller's own is another one each time: the same cause has the same words.
func Cause(err error) string {
	refusal, isRefusal := errors.AsType[*Error](err)
	op, isOp := errors.AsType[*net.OpError](err)
	number, isNumber := errors.AsType[syscall.Errno](err)
	system, isSystem := errors.AsType[*os.SyscallError](err)
	switch {
	case isRefusal:
		return refusal.Error()
	case IsTimeout(err) && isOp && op.Op == "dial":
		return "no connection in time"
	case IsTimeout(err):
		return "no answer in time"
	case isNumber:
		return number.Error()
	case isOp && op.Err != nil:
		return op.Err.Error()
	case isSystem:
		return system.Error()
	default:
		return err.Error()
	}
}

// newError reads an answer that is not 200.
func newError(status int, header http.Header, content []byte) error {
	e := &Error{}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if mediaType == api.ContentTypeProblem {
		if err := json.Unmarshal(content, &e.Problem); err != nil {
			e.Problem = api.Problem{Detail: fmt.Sprintf("problem document that is no JSON: %v", err)}
		}
	} else {
		const shown = 512
		text := strings.ToValidUTF8(string(content[:min(len(content), shown)]), "")
		e.Detail = strings.TrimSpace(text)
	}
	e.Status = status // also where the document has another, or none
	return e
}
