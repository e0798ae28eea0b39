/*
 * Priority: run before those whose beats we take.
 *
 * Agents that beat at the same instant fill a short queue while the observer
 * waits for a processor among them: of 50 such agents on two processors and a
 * queue of 10, up to half of the beats are refused at equal priority, and next
 * to none when the observer runs first. A busy machine delays a verdict
 * likewise.
 */
#ifndef WATCH_HOST_PRIORITY_H
#define WATCH_HOST_PRIORITY_H

/*
 * Take the highest ordinary priority, where we may and where nobody has set
 * one already. What is started later begins with the ordinary one.
 *
 * The nice value now in force.
 */
int priority_go_first(void);

#endif
