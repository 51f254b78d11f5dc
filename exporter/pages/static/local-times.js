// Adds the time of the reader's own zone to the times of a page, which are UTC. Without it the page says the same.
"use strict";
{
  const options = { dateStyle: "medium", timeStyle: "medium" };
  for (const element of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (!Number.isNaN(moment.getTime()) && moment.getTimezoneOffset() !== 0) {
      element.title = `${moment.toLocaleString(undefined, options)} in your time zone`;
      if (element.classList.contains("local-too")) {
        const time = { hour: "2-digit", minute: "2-digit" };
        // The day is said where it is another one than in UTC.
        const isSameDay = moment.getDate() === moment.getUTCDate();
        const local = moment.toLocaleString(undefined, isSameDay ? time : { month: "short", day: "numeric", ...time });
        const here = document.createElement("span");
        here.className = "nowrap";
        here.textContent = `(${local} here)`;
        // After the time, so that a line can break between the two.
        element.after(" ", here);
      }
    }
  }
}
