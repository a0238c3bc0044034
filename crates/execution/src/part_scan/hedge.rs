//! One of several sources that can answer alike: the next is asked when one fails, and beside one that
//! is slow.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use granary_common::{Error, Result};

/// The first answer of `sources`, which are asked in turn: the next one when one has failed in a way
/// that `is_elsewhere` says another may not, or when nobody has answered for `patience`. What is still
/// asked then is dropped. `failure` when there are none.
pub(super) async fn first_answer<T>(
    sources: impl IntoIterator<Item = BoxFuture<'_, Result<T>>>,
    patience: Duration,
    is_elsewhere: fn(&Error) -> bool,
    mut failure: Error,
) -> Result<T> {
    let mut sources = sources.into_iter().peekable();
    let mut asked = FuturesUnordered::new();
    loop {
        asked.extend(sources.next());
        let answer = match sources.peek() {
            Some(_) => tokio::time::timeout(patience, asked.next()).await.ok(),
            None => Some(asked.next().await),
        };
        match answer {
            Some(Some(Err(error))) if is_elsewhere(&error) => failure = error,
            Some(Some(answer)) => return answer,
            Some(None) => return Err(failure),
            // Slow: the next one is asked as well.
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use granary_common::ErrorKind;

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(60);

    fn is_elsewhere(error: &Error) -> bool {
        error.kind() == ErrorKind::Unavailable
    }

    fn answer(number: u32) -> BoxFuture<'static, Result<u32>> {
        async move { Ok(number) }.boxed()
    }

    fn failed(error: Error) -> BoxFuture<'static, Result<u32>> {
        async move { Err(error) }.boxed()
    }

    fn silent() -> BoxFuture<'static, Result<u32>> {
        std::future::pending().boxed()
    }

    async fn first(
        sources: Vec<BoxFuture<'static, Result<u32>>>,
        patience: Duration,
    ) -> Result<u32, ErrorKind> {
        let none = Error::not_found("nobody");
        let found = first_answer(sources, patience, is_elsewhere, none).await;
        found.map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn the_first_good_answer_is_taken() {
        let away = || failed(Error::unavailable("away"));
        let broken = || failed(Error::invalid("broken"));
        assert_eq!(first(vec![], LONG).await, Err(ErrorKind::NotFound));
        assert_eq!(first(vec![answer(1), answer(2)], LONG).await, Ok(1));
        assert_eq!(first(vec![away(), answer(2)], LONG).await, Ok(2));
        assert_eq!(first(vec![away(), away()], LONG).await, Err(ErrorKind::Unavailable));
        assert_eq!(first(vec![broken(), answer(2)], LONG).await, Err(ErrorKind::InvalidInput));
    }

    #[tokio::test]
    async fn a_slow_source_is_not_waited_for_alone() {
        assert_eq!(first(vec![silent(), answer(2)], SHORT).await, Ok(2));
        assert_eq!(first(vec![silent(), silent(), answer(3)], SHORT).await, Ok(3));
        let away = failed(Error::unavailable("away"));
        assert_eq!(first(vec![silent(), away, answer(3)], SHORT).await, Ok(3));
    }

    #[tokio::test]
    async fn the_first_may_still_win() {
        let (told, wait) = futures::channel::oneshot::channel::<u32>();
        let slow = async move { wait.await.map_err(|_| Error::internal("nobody told")) }.boxed();
        let teller = async move {
            told.send(1).map_err(|_| Error::internal("nobody waits"))?;
            std::future::pending().await
        };
        assert_eq!(first(vec![slow, teller.boxed()], SHORT).await, Ok(1));
    }
}
