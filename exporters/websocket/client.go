package websocket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// maxBatch is the size at which a frame of several events is sent, in bytes.
	maxBatch = 64 << 10
	// subscriptionInterval is the time between two subscriptions of a client: each may
	// make it be sent everything that is retained.
	subscriptionInterval = 50 * time.Millisecond
	// maxReason is the longest reason in a close frame (RFC 6455, section 5.5).
	maxReason = 123
)

var (
	errGoingAway = errors.New("the server ends")
	errSilent    = errors.New("no answer to a ping")
)

// client is one connection.
type client struct {
	conn   *websocket.Conn
	limit  int
	cancel context.CancelCauseFunc
	// subscription is guarded by Sink.mu.
	subscription subscription
	// ready wakes the writer.
	ready chan struct{}

	// mu guards what follows.
	mu    sync.Mutex
	queue [][]byte
	// queued are the bytes in the queue and in the frame that is being written.
	queued int
	// reports are those that wait.
	reports []report
	// lost are the events that didn't fit, told those the client has been told of.
	lost, told     uint64
	batch, notices bool
}

// offer queues an event, whose bytes are shared with other clients. It gives false when
// there is no room: the event is lost for this client.
func (c *client) offer(encoded []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued > 0 && c.queued+len(encoded) > c.limit {
		c.lost++
		return false
	}
	c.push(encoded)
	return true
}

// push queues bytes; mu is held.
func (c *client) push(encoded []byte) {
	c.queue = append(c.queue, encoded)
	c.queued += len(encoded)
	c.wake()
}

// wake wakes the writer.
func (c *client) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// next gives the next frame, made in buffer when it has more than one event; nil when
// there is none. size is what written is to be called with.
func (c *client) next(buffer []byte) (frame []byte, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notices && c.lost > c.told {
		notice := fmt.Appendf(buffer[:0], `{"notice":{"lost":%d}}`, c.lost)
		c.told = c.lost
		return notice, 0
	}
	if len(c.reports) > 0 {
		frame = c.reports[0].encoded
		c.reports = slices.Delete(c.reports, 0, 1)
		return frame, 0
	}
	if len(c.queue) == 0 {
		return nil, 0
	}
	n, size := 1, len(c.queue[0])
	if c.batch {
		for n < len(c.queue) && size+len(c.queue[n]) < maxBatch {
			size += len(c.queue[n])
			n++
		}
	}
	frame = c.queue[0]
	if n > 1 {
		frame = buffer[:0]
		for i, encoded := range c.queue[:n] {
			if i > 0 {
				frame = append(frame, '\n')
			}
			frame = append(frame, encoded...)
		}
	}
	clear(c.queue[:n])
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return frame, size
}

// written gives back the room of a frame.
func (c *client) written(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= size
}

// write sends what is queued until ctx ends or the client does.
func (c *client) write(ctx context.Context, timeout time.Duration) error {
	buffer := make([]byte, 0, maxBatch+maxBatch/8)
	for {
		frame, size := c.next(buffer)
		if frame == nil {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-c.ready:
			}
			continue
		}
		// The end of ctx must not tear the connection in the middle of a frame: a close
		// frame follows.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		err := c.conn.Write(bounded, websocket.MessageText, frame)
		cancel()
		if err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		c.written(size)
	}
}

// ping asks for a sign of life again and again.
func (c *client) ping(ctx context.Context, interval, timeout time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		err := c.conn.Ping(bounded)
		cancel()
		if err != nil {
			return errors.Join(errSilent, err)
		}
	}
}

// read takes subscriptions.
func (c *client) read(ctx context.Context, subscribe func(subscription)) error {
	for {
		kind, text, err := c.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if kind != websocket.MessageText {
			return refusal{errors.New("subscription: a binary frame; it is JSON in a text frame")}
		}
		s, err := parseSubscription(text)
		if err != nil {
			return refusal{err}
		}
		subscribe(s)
		timer := time.NewTimer(subscriptionInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// refusal is a subscription that isn't understood.
type refusal struct{ error }

// closing gives the close frame for the reason why a client is left.
func closing(cause error) (websocket.StatusCode, string) {
	var refused refusal
	switch {
	case errors.As(cause, &refused):
		reason := refused.Error()
		return websocket.StatusPolicyViolation, reason[:min(len(reason), maxReason)]
	case errors.Is(cause, errGoingAway):
		return websocket.StatusGoingAway, errGoingAway.Error()
	default:
		return websocket.StatusNormalClosure, ""
	}
}

// serve is the life of a client.
func (s *Sink) serve(ctx context.Context, c *client) {
	var working sync.WaitGroup
	run := func(f func() error) {
		working.Go(func() { c.cancel(f()) })
	}
	run(func() error { return c.write(ctx, s.config.WriteTimeout) })
	run(func() error { return c.ping(ctx, s.config.PingInterval, s.config.WriteTimeout) })
	// Reading isn't bound to ctx: its end would close the connection without a close
	// frame.
	run(func() error {
		return c.read(context.WithoutCancel(ctx), func(subscribed subscription) { s.subscribe(c, subscribed) })
	})
	<-ctx.Done()
	s.leave(c)
	cause := context.Cause(ctx)
	s.logger.Debug("client left", "why", cause)
	code, reason := closing(cause)
	if code == websocket.StatusNormalClosure {
		_ = c.conn.CloseNow() // it is gone, or stuck
	} else if err := c.conn.Close(code, reason); err != nil {
		s.logger.Debug("client did not say farewell", "err", err)
	}
	working.Wait()
}

// subscribe replaces what a client gets, beginning with what is retained.
func (s *Sink) subscribe(c *client, wanted subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.subscription = wanted
	c.mu.Lock()
	c.batch, c.notices = wanted.batch, wanted.notices
	c.mu.Unlock()
	s.reportsFor(c)
	// What is in the queue before this notice belongs to the subscription before.
	c.notify(`{"notice":{"subscribed":true}}`)
	if wanted.retained {
		s.retained.each(func(d *delivery) {
			if wanted.wants(d) && !c.offer(d.short) {
				s.lossOf(d.event.Source).Add(1)
			}
		})
		c.notify(`{"notice":{"retained":true}}`)
	}
}

// notify queues a notice if the client wants them. A few bytes always find room.
func (c *client) notify(notice string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notices {
		c.push([]byte(notice))
	}
}

// enter admits a client; false when there are too many or the end has come.
func (s *Sink) enter(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.clients) >= s.config.MaxClients {
		return false
	}
	s.clients[c] = struct{}{}
	s.working.Add(1)
	return true
}

func (s *Sink) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}
